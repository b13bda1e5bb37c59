// What one step does with its gates, forward and backward, for the units of one panel.
#pragma once

#include "layout.h"
#include "micro/activation.h"

namespace bptt::BPTT_ISA {
namespace {

// The gates of V units: in the first slot at `first`, in each next one `apart` further on.
template <class S>
struct Place {
    long first, apart;

    BPTT_INLINE Place(const Layout<S>& layout, long u)
        : first(layout.place(0, u)), apart(layout.width(u / NR<S>)) {}
};

// Forward: G holds the sums a + u (of the gru's last slot: u_n alone) and receives the activated gates, which are the tape.
template <class S>
struct StepForward {
    const Layout<S>* layout;
    S* gates;
    long ldg, H;
    Lines<const S> h_before, c_before;
    Lines<S> h, c;
};

// The rows that a panel's gates lie in are too far apart for the hardware to guess: row `i` of a step is fetched this many rows
// before its use.
constexpr long rows_ahead = 4;

template <class S>
BPTT_INLINE void fetch(const Lines<S>& lines, long i, long u0, long u1) {
    for (long u = u0; u < u1; u += V<S>) __builtin_prefetch(lines[i] + u, 1);
}

template <class S>
BPTT_INLINE void fetch(const StepForward<S>& s, long i, long u0, long u1) {
    const Layout<S>& layout = *s.layout;
    S* gates = s.gates + i * s.ldg;
    for (long at = layout.place(0, u0); at < layout.place(0, u0) + (u1 - u0) * layout.slots.slots; at += V<S>)
        __builtin_prefetch(gates + at, 1);
    fetch(s.h, i, u0, u1);
    if (s.c.base || s.c.table) fetch(s.c, i, u0, u1), fetch(s.c_before, i, u0, u1);
}

template <class S, Activation F>
void rnn_forward(const StepForward<S>& s, long rows, long u0, long u1) {
    for (long i = 0; i < rows; i++)
        for (long u = u0; u < u1; u += V<S>) {
            Vec<S> a = load(s.gates + i * s.ldg + u);
            if constexpr (F == Activation::tanh) a = hyperbolic<S>(a);
            if constexpr (F == Activation::relu) a = at_least<S>(a, S(0));
            store_first(s.h[i] + u, a, s.H - u);
        }
}

template <class S>
void gru_forward(const StepForward<S>& s, long rows, long u0, long u1) {
    for (long i = 0; i < rows; i++) {
        if (i + rows_ahead < rows) fetch(s, i + rows_ahead, u0, u1);
        for (long u = u0; u < u1; u += V<S>) {
            const Place<S> at(*s.layout, u);
            S* g = s.gates + i * s.ldg + at.first;
            Vec<S> rz[] = {load(g + at.apart), load(g + 2 * at.apart)};
            squash<S, 2, 0>(rz);
            const Vec<S> r = rz[0], z = rz[1], n = hyperbolic<S>(load(g) + r * load(g + 3 * at.apart));
            store(g, n);
            store(g + at.apart, r);
            store(g + 2 * at.apart, z);
            const Vec<S> before = load_first(s.h_before[i] + u, s.H - u);
            store_first(s.h[i] + u, n + z * (before - n), s.H - u);
        }
    }
}

template <class S>
void lstm_forward(const StepForward<S>& s, long rows, long u0, long u1) {
    for (long i = 0; i < rows; i++) {
        if (i + rows_ahead < rows) fetch(s, i + rows_ahead, u0, u1);
        for (long u = u0; u < u1; u += V<S>) {
            const Place<S> at(*s.layout, u);
            S* gates = s.gates + i * s.ldg + at.first;
            Vec<S> ifog[] = {load(gates), load(gates + at.apart), load(gates + 3 * at.apart), load(gates + 2 * at.apart)};
            squash<S, 3, 1>(ifog);
            const Vec<S> in = ifog[0], f = ifog[1], o = ifog[2], g = ifog[3];
            const Vec<S> c = f * load(s.c_before[i] + u) + in * g;
            store(gates, in);
            store(gates + at.apart, f);
            store(gates + 2 * at.apart, g);
            store(gates + 3 * at.apart, o);
            store(s.c[i] + u, c);
            store_first(s.h[i] + u, o * hyperbolic<S>(c), s.H - u);
        }
    }
}

// Backward: from the error of h (and what c carries) to the errors of the gates' sums, in D, and what goes to the step before.
template <class S>
struct StepBackward {
    const Layout<S>* layout;
    const S* gates;
    long ldg, Hp, H;
    S* errors;       // D: slots as in gates
    long lde;
    Lines<S> dh;     // the error carried to h; receives the part of it that passes by the products
    Lines<S> dc;     // likewise of c
    const S* outer;  // the lstm's with a projection: the whole error of o tanh(c), rows outer_ld apart, instead of dh + dy
    long outer_ld;
    Lines<const S> dy;  // base null: zero
    Lines<const S> h_before, h, c_before;
    const S* c;      // neighbours, ldc apart
    long ldc;
    const int* prev;  // null: no row was reset
    S limit;
};

template <class S>
BPTT_INLINE Vec<S> clamp(Vec<S> v, S limit) {
    return at_most<S>(at_least<S>(v, -limit), limit);
}

template <class S>
BPTT_INLINE Vec<S> output_error(const StepBackward<S>& s, long i, long u) {
    if (s.outer) return load(s.outer + i * s.outer_ld + u);
    const Vec<S> carried = load(s.dh[i] + u);
    return s.dy.base || s.dy.table ? carried + load_first(s.dy[i] + u, s.H - u) : carried;
}

template <class S>
BPTT_INLINE void fetch(const StepBackward<S>& s, long i, long u0, long u1) {
    const Layout<S>& layout = *s.layout;
    const S* gates = s.gates + i * s.ldg;
    for (long at = layout.place(0, u0); at < layout.place(0, u0) + (u1 - u0) * layout.slots.slots; at += V<S>)
        __builtin_prefetch(gates + at);
    for (long u = u0; u < u1; u += V<S>)
        for (long slot = 0; slot < layout.slots.slots; slot++) __builtin_prefetch(s.errors + i * s.lde + slot * s.Hp + u, 1);
    if (s.dy.base || s.dy.table) fetch(s.dy, i, u0, u1);
    if (!s.c) return fetch(s.h_before, i, u0, u1);
    for (long u = u0; u < u1; u += V<S>) __builtin_prefetch(s.c + i * s.ldc + u);
    fetch(s.c_before, i, u0, u1);
    fetch(s.dc, i, u0, u1);
}

template <class S, Activation F>
void rnn_backward(const StepBackward<S>& s, long rows, long u0, long u1) {
    for (long i = 0; i < rows; i++)
        for (long u = u0; u < u1; u += V<S>) {
            Vec<S> d = output_error(s, i, u);
            const Vec<S> h = load_first(s.h[i] + u, s.H - u);
            if constexpr (F == Activation::tanh) d = d - d * (h * h);
            if constexpr (F == Activation::relu) d = h > S(0) ? d : Vec<S>{};
            store(s.errors + i * s.lde + u, d);
            store(s.dh[i] + u, Vec<S>{});
        }
}

template <class S>
void gru_backward(const StepBackward<S>& s, long rows, long u0, long u1) {
    for (long i = 0; i < rows; i++) {
        if (i + rows_ahead < rows) fetch(s, i + rows_ahead, u0, u1);
        for (long u = u0; u < u1; u += V<S>) {
            const Place<S> at(*s.layout, u);
            const S* g = s.gates + i * s.ldg + at.first;
            S* e = s.errors + i * s.lde + u;
            const Vec<S> n = load(g), r = load(g + at.apart), z = load(g + 2 * at.apart), u_n = load(g + 3 * at.apart);
            const Vec<S> d = output_error(s, i, u), passed = d * z;
            const Vec<S> dn = (d - passed) * (S(1) - n * n);
            const Vec<S> before = load_first(s.h_before[i] + u, s.H - u);
            store(e, dn);
            store(e + s.Hp, dn * u_n * (r - r * r));
            store(e + 2 * s.Hp, passed * (S(1) - z) * (before - n));
            store(e + 3 * s.Hp, dn * r);
            store(s.dh[i] + u, passed);
        }
    }
}

template <class S>
void lstm_backward(const StepBackward<S>& s, long rows, long u0, long u1) {
    for (long i = 0; i < rows; i++) {
        const bool fresh = s.prev && s.prev[i] == Rows::fresh;
        if (i + rows_ahead < rows) fetch(s, i + rows_ahead, u0, u1);
        for (long u = u0; u < u1; u += V<S>) {
            const Place<S> at(*s.layout, u);
            const S* gates = s.gates + i * s.ldg + at.first;
            S* e = s.errors + i * s.lde + u;
            const Vec<S> in = load(gates), f = load(gates + at.apart);
            const Vec<S> g = load(gates + 2 * at.apart), o = load(gates + 3 * at.apart);
            const Vec<S> d = output_error(s, i, u), tc = hyperbolic<S>(load(s.c + i * s.ldc + u)), through = d * o;
            const Vec<S> dc = load(s.dc[i] + u) + (through - through * (tc * tc));
            store(e, dc * g * (in - in * in));
            store(e + s.Hp, dc * load(s.c_before[i] + u) * (f - f * f));
            store(e + 2 * s.Hp, dc * in * (S(1) - g * g));
            store(e + 3 * s.Hp, d * tc * (o - o * o));
            store(s.dc[i] + u, fresh ? Vec<S>{} : clamp<S>(dc * f, s.limit));
            if (!s.outer) store(s.dh[i] + u, Vec<S>{});
        }
    }
}

}  // namespace
}  // namespace bptt::BPTT_ISA
