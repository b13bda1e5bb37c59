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

// Vectors of units whose gates are made together, where the registers allow: one alone is a chain of operations that leaves the
// arithmetic units waiting.
#if BPTT_VECTOR_BYTES == 64
constexpr int together = 2;
#else
constexpr int together = 1;
#endif

template <int n>
struct Vectors {
    static constexpr int value = n;
};

// Calls use(vectors, u) for the units from u0 to u1, `together` vectors of one panel at a time.
template <class S, class Use>
BPTT_INLINE void each_group(const Layout<S>& layout, long u0, long u1, Use use) {
    for (long u = u0; u < u1;) {
        if (together == 1 || layout.width(u / NR<S>) < NR<S>) use(Vectors<1>{}, u), u += V<S>;
        else use(Vectors<together>{}, u), u += together * V<S>;
    }
}

template <class S, Activation F>
void rnn_forward(const StepForward<S>& s, long rows, long u0, long u1) {
    for (long i = 0; i < rows; i++) {
        const S* from = s.gates + i * s.ldg;
        S* to = s.h[i];
        each_group<S>(*s.layout, u0, u1, [&](auto vectors, long u) {
            constexpr int W = decltype(vectors)::value;
            Vec<S> a[W];
            for (int w = 0; w < W; w++) a[w] = load(from + u + w * V<S>);
            if constexpr (F == Activation::tanh) squash<S, 0, W>(a);
            for (int w = 0; w < W; w++) {
                if constexpr (F == Activation::relu) a[w] = at_least<S>(a[w], S(0));
                store_first(to + u + w * V<S>, a[w], s.H - u - w * V<S>);
            }
        });
    }
}

template <class S>
void gru_forward(const StepForward<S>& s, long rows, long u0, long u1) {
    for (long i = 0; i < rows; i++) {
        if (i + rows_ahead < rows) fetch(s, i + rows_ahead, u0, u1);
        each_group<S>(*s.layout, u0, u1, [&](auto vectors, long u) {
            constexpr int W = decltype(vectors)::value;
            const Place<S> at(*s.layout, u);
            S* g = s.gates + i * s.ldg + at.first;
            Vec<S> rz[2 * W], n[W];
            for (int w = 0; w < W; w++) rz[w] = load(g + at.apart + w * V<S>), rz[W + w] = load(g + 2 * at.apart + w * V<S>);
            squash<S, 2 * W, 0>(rz);
            for (int w = 0; w < W; w++) n[w] = load(g + w * V<S>) + rz[w] * load(g + 3 * at.apart + w * V<S>);
            squash<S, 0, W>(n);
            for (int w = 0; w < W; w++) {
                const long v = u + w * V<S>;
                store(g + w * V<S>, n[w]);
                store(g + at.apart + w * V<S>, rz[w]);
                store(g + 2 * at.apart + w * V<S>, rz[W + w]);
                const Vec<S> before = load_first(s.h_before[i] + v, s.H - v);
                store_first(s.h[i] + v, n[w] + rz[W + w] * (before - n[w]), s.H - v);
            }
        });
    }
}

template <class S>
void lstm_forward(const StepForward<S>& s, long rows, long u0, long u1) {
    for (long i = 0; i < rows; i++) {
        if (i + rows_ahead < rows) fetch(s, i + rows_ahead, u0, u1);
        each_group<S>(*s.layout, u0, u1, [&](auto vectors, long u) {
            constexpr int W = decltype(vectors)::value;
            const Place<S> at(*s.layout, u);
            S* gates = s.gates + i * s.ldg + at.first;
            Vec<S> ifog[4 * W], c[W], squashed[W];
            for (int w = 0; w < W; w++) {
                ifog[w] = load(gates + w * V<S>);
                ifog[W + w] = load(gates + at.apart + w * V<S>);
                ifog[2 * W + w] = load(gates + 3 * at.apart + w * V<S>);
                ifog[3 * W + w] = load(gates + 2 * at.apart + w * V<S>);
            }
            squash<S, 3 * W, W>(ifog);
            for (int w = 0; w < W; w++) {
                c[w] = ifog[W + w] * load(s.c_before[i] + u + w * V<S>) + ifog[w] * ifog[3 * W + w];
                squashed[w] = c[w];
                store(gates + w * V<S>, ifog[w]);
                store(gates + at.apart + w * V<S>, ifog[W + w]);
                store(gates + 2 * at.apart + w * V<S>, ifog[3 * W + w]);
                store(gates + 3 * at.apart + w * V<S>, ifog[2 * W + w]);
                store(s.c[i] + u + w * V<S>, c[w]);
            }
            squash<S, 0, W>(squashed);
            for (int w = 0; w < W; w++)
                store_first(s.h[i] + u + w * V<S>, ifog[2 * W + w] * squashed[w], s.H - u - w * V<S>);
        });
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
BPTT_INLINE void fetch_errors(const StepBackward<S>& s, long i, long u0, long u1) {
    for (long u = u0; u < u1; u += V<S>)
        for (long slot = 0; slot < s.layout->slots.slots; slot++) __builtin_prefetch(s.errors + i * s.lde + slot * s.Hp + u, 1);
    if (s.dy.base || s.dy.table) fetch(s.dy, i, u0, u1);
}

template <class S>
BPTT_INLINE void fetch(const StepBackward<S>& s, long i, long u0, long u1) {
    const Layout<S>& layout = *s.layout;
    const S* gates = s.gates + i * s.ldg;
    for (long at = layout.place(0, u0); at < layout.place(0, u0) + (u1 - u0) * layout.slots.slots; at += V<S>)
        __builtin_prefetch(gates + at);
    fetch_errors(s, i, u0, u1);
    if (!s.c) return fetch(s.h_before, i, u0, u1);
    for (long u = u0; u < u1; u += V<S>) __builtin_prefetch(s.c + i * s.ldc + u);
    fetch(s.c_before, i, u0, u1);
    fetch(s.dc, i, u0, u1);
}

template <class S, Activation F>
void rnn_backward(const StepBackward<S>& s, long rows, long u0, long u1) {
    const bool far = s.Hp * rows > 4096;  // so little work for each element that fetching what is near would cost as much
    for (long i = 0; i < rows; i++) {
        if (far && i + rows_ahead < rows) fetch(s.h, i + rows_ahead, u0, u1), fetch_errors(s, i + rows_ahead, u0, u1);
        for (long u = u0; u < u1; u += V<S>) {
            Vec<S> d = output_error(s, i, u);
            const Vec<S> h = load_first(s.h[i] + u, s.H - u);
            if constexpr (F == Activation::tanh) d = d - d * (h * h);
            if constexpr (F == Activation::relu) d = h > S(0) ? d : Vec<S>{};
            store(s.errors + i * s.lde + u, d);
            store(s.dh[i] + u, Vec<S>{});
        }
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
        each_group<S>(*s.layout, u0, u1, [&](auto vectors, long first) {
            constexpr int W = decltype(vectors)::value;
            Vec<S> squashed[W];
            for (int w = 0; w < W; w++) squashed[w] = load(s.c + i * s.ldc + first + w * V<S>);
            squash<S, 0, W>(squashed);
            for (int w = 0; w < W; w++) {
                const long u = first + w * V<S>;
                const Place<S> at(*s.layout, u);
                const S* gates = s.gates + i * s.ldg + at.first;
                S* e = s.errors + i * s.lde + u;
                const Vec<S> in = load(gates), f = load(gates + at.apart);
                const Vec<S> g = load(gates + 2 * at.apart), o = load(gates + 3 * at.apart);
                const Vec<S> d = output_error(s, i, u), tc = squashed[w], through = d * o;
                const Vec<S> dc = load(s.dc[i] + u) + (through - through * (tc * tc));
                store(e, dc * g * (in - in * in));
                store(e + s.Hp, dc * load(s.c_before[i] + u) * (f - f * f));
                store(e + 2 * s.Hp, dc * in * (S(1) - g * g));
                store(e + 3 * s.Hp, d * tc * (o - o * o));
                store(s.dc[i] + u, fresh ? Vec<S>{} : clamp<S>(dc * f, s.limit));
                if (!s.outer) store(s.dh[i] + u, Vec<S>{});
            }
        });
    }
}

}  // namespace
}  // namespace bptt::BPTT_ISA
