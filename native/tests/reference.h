// The kernels' mathematics once more, one number at a time, in double: slow, obvious, and written apart from them.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "bptt/sequence.h"

namespace reference {

using Numbers = std::vector<double>;

// Everything that one layer is given and gives, under the names of the contract; empty where it does not take part.
struct Layer {
    bptt::Shape shape;
    Numbers x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, dy, dh_end, dc_end;
    Numbers y, h_end, c_end, dx, dh0, dc0, dw_ih, dw_hh, db_ih, db_hh, dw_hr;
};

inline double sigmoid(double v) { return 1 / (1 + std::exp(-v)); }

// One step of one row, as forward found it.
struct Step {
    bool active = false, fresh = false;
    Numbers h, c, gates, u_n, inner;  // h, c: before the step; inner: o tanh(c)
    Numbers c_after;
};

class Run {
public:
    explicit Run(Layer& layer)
        : l(layer), s(l.shape), G(s.cell == bptt::Cell::rnn ? 1 : s.cell == bptt::Cell::gru ? 3 : 4), H(s.H), Y(s.P ? s.P : s.H),
          steps(std::size_t(s.T * s.B)) {}

    void forward() {
        l.y.assign(std::size_t(s.T * s.B * Y), 0);
        l.h_end.assign(std::size_t(s.B * Y), 0);
        l.c_end.assign(std::size_t(s.B * H), 0);
        for (long b = 0; b < s.B; b++) {
            Numbers h(l.h0.begin() + b * Y, l.h0.begin() + (b + 1) * Y), c(std::size_t(H), 0.0);
            if (s.cell == bptt::Cell::lstm) c.assign(l.c0.begin() + b * H, l.c0.begin() + (b + 1) * H);
            for (long n = 0; n < s.T; n++) {
                const long t = s.reverse ? s.T - 1 - n : n;
                Step& step = steps[std::size_t(t * s.B + b)];
                step.fresh = resets(t, b);
                if (step.fresh) {
                    std::fill(h.begin(), h.end(), 0.0);
                    std::fill(c.begin(), c.end(), 0.0);
                }
                step.active = !s.mask || s.mask[t * s.B + b];
                if (!step.active) continue;
                step.h = h;
                step.c = c;
                advance(step, &l.x[std::size_t((t * s.B + b) * s.I)], h, c);
                std::copy(h.begin(), h.end(), l.y.begin() + (t * s.B + b) * Y);
            }
            std::copy(h.begin(), h.end(), l.h_end.begin() + b * Y);
            std::copy(c.begin(), c.end(), l.c_end.begin() + b * H);
        }
    }

    void backward() {
        l.dx.assign(l.x.size(), 0);
        l.dh0.assign(l.h0.size(), 0);
        l.dc0.assign(l.c0.size(), 0);
        l.dw_ih.assign(l.w_ih.size(), 0);
        l.dw_hh.assign(l.w_hh.size(), 0);
        l.db_ih.assign(std::size_t(G * H), 0);
        l.db_hh.assign(std::size_t(G * H), 0);
        l.dw_hr.assign(l.w_hr.size(), 0);
        for (long b = 0; b < s.B; b++) {
            Numbers dh(std::size_t(Y), 0.0), dc(std::size_t(H), 0.0);
            if (!l.dh_end.empty()) dh.assign(l.dh_end.begin() + b * Y, l.dh_end.begin() + (b + 1) * Y);
            if (!l.dc_end.empty()) dc.assign(l.dc_end.begin() + b * H, l.dc_end.begin() + (b + 1) * H);
            for (long n = s.T - 1; n >= 0; n--) {
                const long t = s.reverse ? s.T - 1 - n : n;
                const Step& step = steps[std::size_t(t * s.B + b)];
                if (step.active) retreat(step, t * s.B + b, dh, dc);
                if (!step.fresh) continue;
                std::fill(dh.begin(), dh.end(), 0.0);
                std::fill(dc.begin(), dc.end(), 0.0);
            }
            std::copy(dh.begin(), dh.end(), l.dh0.begin() + b * Y);
            if (!l.dc0.empty()) std::copy(dc.begin(), dc.end(), l.dc0.begin() + b * H);
        }
    }

private:
    bool resets(long t, long b) const {
        const long border = s.reverse ? t + 1 : t;
        return s.reset && border < s.T && s.reset[border * s.B + b];
    }

    static double dot(const double* a, const double* b, long n) {
        double sum = 0;
        for (long i = 0; i < n; i++) sum += a[i] * b[i];
        return sum;
    }

    double limited(double v) const { return std::min(std::max(v, -s.clip_step), s.clip_step); }

    void advance(Step& step, const double* x, Numbers& h, Numbers& c) {
        const auto a = [&](long row) {
            return dot(x, &l.w_ih[std::size_t(row * s.I)], s.I) + (l.b_ih.empty() ? 0 : l.b_ih[std::size_t(row)]);
        };
        const auto u = [&](long row) {
            return dot(step.h.data(), &l.w_hh[std::size_t(row * Y)], Y) + (l.b_hh.empty() ? 0 : l.b_hh[std::size_t(row)]);
        };
        step.gates.resize(std::size_t(G * H));
        step.u_n.resize(std::size_t(H));
        step.inner.resize(std::size_t(H));
        const auto gate = [&](long g, long i) -> double& { return step.gates[std::size_t(g * H + i)]; };
        for (long i = 0; i < H; i++) {
            const auto k = std::size_t(i);
            if (s.cell == bptt::Cell::rnn) {
                const double sum = a(i) + u(i);
                using bptt::Activation;
                gate(0, i) = s.activation == Activation::tanh ? std::tanh(sum) : s.activation == Activation::relu ? std::max(sum, 0.0) : sum;
                step.inner[k] = gate(0, i);
            } else if (s.cell == bptt::Cell::gru) {
                const double r = sigmoid(a(i) + u(i)), z = sigmoid(a(H + i) + u(H + i));
                step.u_n[k] = u(2 * H + i);
                const double n = std::tanh(a(2 * H + i) + r * step.u_n[k]);
                gate(0, i) = r;
                gate(1, i) = z;
                gate(2, i) = n;
                step.inner[k] = n + z * (step.h[k] - n);
            } else {
                for (long g = 0; g < 4; g++) {
                    const double sum = a(g * H + i) + u(g * H + i);
                    gate(g, i) = g == 2 ? std::tanh(sum) : sigmoid(sum);
                }
                c[k] = gate(1, i) * step.c[k] + gate(0, i) * gate(2, i);
                step.inner[k] = gate(3, i) * std::tanh(c[k]);
            }
        }
        step.c_after = c;
        for (long p = 0; p < Y; p++)
            h[std::size_t(p)] = s.P ? dot(step.inner.data(), &l.w_hr[std::size_t(p * H)], H) : step.inner[std::size_t(p)];
    }

    void retreat(const Step& step, long at, Numbers& dh, Numbers& dc) {
        Numbers error = dh, inner(std::size_t(H), 0.0), passed(std::size_t(Y), 0.0);
        if (!l.dy.empty())
            for (long p = 0; p < Y; p++) error[std::size_t(p)] += l.dy[std::size_t(at * Y + p)];
        for (long i = 0; i < H; i++) inner[std::size_t(i)] = s.P ? 0 : error[std::size_t(i)];
        for (long p = 0; p < s.P; p++)
            for (long i = 0; i < H; i++) {
                inner[std::size_t(i)] += error[std::size_t(p)] * l.w_hr[std::size_t(p * H + i)];
                l.dw_hr[std::size_t(p * H + i)] += error[std::size_t(p)] * step.inner[std::size_t(i)];
            }
        Numbers da(std::size_t(G * H)), du(std::size_t(G * H));  // errors of the input's and of the state's sums
        const auto both = [&](long row, double v) { da[std::size_t(row)] = du[std::size_t(row)] = v; };
        for (long i = 0; i < H; i++) {
            const auto k = std::size_t(i);
            const auto gate = [&](long g) { return step.gates[std::size_t(g * H + i)]; };
            const double d = inner[k];
            if (s.cell == bptt::Cell::rnn) {
                using bptt::Activation;
                const double h = gate(0);
                both(i, d * (s.activation == Activation::tanh ? 1 - h * h : s.activation == Activation::relu ? double(h > 0) : 1.0));
            } else if (s.cell == bptt::Cell::gru) {
                const double r = gate(0), z = gate(1), n = gate(2), dn = d * (1 - z) * (1 - n * n);
                passed[k] = d * z;
                both(i, dn * step.u_n[k] * r * (1 - r));
                both(H + i, d * (step.h[k] - n) * z * (1 - z));
                da[std::size_t(2 * H + i)] = dn;
                du[std::size_t(2 * H + i)] = dn * r;
            } else {
                const double tc = std::tanh(step.c_after[k]), dk = dc[k] + d * gate(3) * (1 - tc * tc);
                both(i, dk * gate(2) * gate(0) * (1 - gate(0)));
                both(H + i, dk * step.c[k] * gate(1) * (1 - gate(1)));
                both(2 * H + i, dk * gate(0) * (1 - gate(2) * gate(2)));
                both(3 * H + i, d * tc * gate(3) * (1 - gate(3)));
                dc[k] = limited(dk * gate(1));
            }
        }
        for (long row = 0; row < G * H; row++) {
            const double ea = da[std::size_t(row)], eu = du[std::size_t(row)];
            l.db_ih[std::size_t(row)] += ea;
            l.db_hh[std::size_t(row)] += eu;
            for (long i = 0; i < s.I; i++) {
                l.dx[std::size_t(at * s.I + i)] += ea * l.w_ih[std::size_t(row * s.I + i)];
                l.dw_ih[std::size_t(row * s.I + i)] += ea * l.x[std::size_t(at * s.I + i)];
            }
            for (long p = 0; p < Y; p++) {
                passed[std::size_t(p)] += eu * l.w_hh[std::size_t(row * Y + p)];
                l.dw_hh[std::size_t(row * Y + p)] += eu * step.h[std::size_t(p)];
            }
        }
        for (long p = 0; p < Y; p++) dh[std::size_t(p)] = limited(passed[std::size_t(p)]);
    }

    Layer& l;
    const bptt::Shape& s;
    const long G, H, Y;
    std::vector<Step> steps;
};

}  // namespace reference
