// The whole of the kernels for one instruction set. Included by one file for each, with BPTT_ISA its name and
// BPTT_VECTOR_BYTES the width of its vectors.
#pragma once

#include "readout/cross_entropy.h"
#include "sequence/backward.h"
#include "sequence/forward.h"
#include "sequence/kernels.h"

#if defined(__aarch64__)
#define BPTT_REGISTER "+w"
#elif BPTT_VECTOR_BYTES == 64
#define BPTT_REGISTER "+v"
#else
#define BPTT_REGISTER "+x"
#endif

namespace bptt::BPTT_ISA {
namespace {

// Every thread makes a pass of its own over the same memory: what they do not share lies there, the rest in the pass.
template <class Pass, class Problem>
struct Call {
    const Problem& problem;
    const Rows& rows;
    Partition split;
    void* memory;

    static void part(void* context, int thread, Barrier& barrier) {
        const Call& call = *static_cast<Call*>(context);
        const FlushDenormals flush;
        Pass pass(call.problem, call.rows, call.split, call.memory);
        pass.part(thread, barrier);
    }
};

template <class S, class Pass, class Problem>
void run(const Problem& problem) {
    const Shape& s = problem.shape;
    const Rows rows = Rows::number(s, scratch(Use::rows, Rows::memory(s)));
    Partition split = partition<S>(s, Layout<S>(s), rows.N, team_size(s.threads));
    while (true) {
        const std::size_t bytes = Pass(problem, rows, split, nullptr).bytes;
        Call<Pass, Problem> call{problem, rows, split, scratch(Use::work, bytes)};
        if (run_team(split.threads, call.part, &call)) return;
        split = {1, true};
    }
}

template <class S>
TapeSize tape(const Shape& s) {
    const Layout<S> layout(s);
    const std::size_t all = std::size_t(s.T) * std::size_t(s.B);
    return {s.cell == Cell::rnn ? 0 : all * std::size_t(layout.ldg), s.cell == Cell::lstm ? all * std::size_t(layout.ldc) : 0};
}

template <class S, class Pass, class Problem>
std::size_t scratch_of(const Problem& problem) {
    const Shape& s = problem.shape;
    const Rows rows{s.T, s.B, s.T * s.B, s.reverse, true};
    return Pass(problem, rows, partition<S>(s, Layout<S>(s), rows.N, team_size(s.threads)), nullptr).bytes;
}

template <class S>
Scratch scratch(const Shape& s) {
    S there{};
    Forward<S> f{};
    Backward<S> b{};
    f.shape = b.shape = s;
    f.gates = f.cells = &there;
    b.dx = b.dw_ih = b.dw_hh = b.db_ih = b.db_hh = &there;
    if (s.P) b.dw_hr = &there;
    return {scratch_of<S, ForwardPass<S>>(f), scratch_of<S, BackwardPass<S>>(b)};
}

template <class S>
void forward(const Forward<S>& f) {
    const TapeSize size = tape<S>(f.shape);
    if (f.gates) expect_to_fill(f.gates, size.gates * sizeof(S));
    if (f.cells) expect_to_fill(f.cells, size.cells * sizeof(S));
    expect_to_fill(f.y, std::size_t(f.shape.T * f.shape.B * (f.shape.P ? f.shape.P : f.shape.H)) * sizeof(S));
    run<S, ForwardPass<S>>(f);
}

template <class S>
void backward(const Backward<S>& f) {
    expect_to_fill(f.dx, std::size_t(f.shape.T * f.shape.B * f.shape.I) * sizeof(S));
    run<S, BackwardPass<S>>(f);
}

// Below this many multiply-adds for a thread, another thread costs more than it brings.
constexpr double least_readout = 5e5;

template <class S>
void readout(const Readout<S>& f) {
    struct Call {
        const Readout<S>& readout;
        int threads;
        void* memory;
        static void part(void* context, int thread, Barrier& barrier) {
            const Call& call = *static_cast<Call*>(context);
            const FlushDenormals flush;
            ReadoutPass<S>(call.readout, call.threads, call.memory).part(thread, barrier);
        }
    };
    int threads = team_size(least(f.threads, most(1, long(double(f.N) * double(f.V) * double(f.H) / least_readout))));
    while (true) {
        Call call{f, threads, scratch(Use::work, ReadoutPass<S>(f, threads, nullptr).bytes)};
        if (run_team(threads, call.part, &call)) return;
        threads = 1;
    }
}

template <class S>
void apply(int function, const S* from, S* to, long n) {
    for (long i = 0; i < n; i += V<S>) {
        const Vec<S> x = load_first(from + i, n - i);
        store_first(to + i, function ? logistic<S>(x) : hyperbolic<S>(x), n - i);
    }
}

// The compiler may neither drop v nor work ahead of it.
BPTT_INLINE void keep(Vec<float>& v) { asm volatile("" : BPTT_REGISTER(v)); }

// As many chains as hide the latency of a multiply-add, each in a register of its own.
template <class... Chains>
BPTT_INLINE void advance(long rounds, Chains... chains) {
    const Vec<float> a = splat(0.999f), b = splat(1e-4f);
    for (long n = 0; n < rounds; n++) {
        ((chains = chains * a + b), ...);
        (keep(chains), ...);
    }
}

void multiply_add(long rounds) {
    const Vec<float> s = splat(1.0f);
    advance(rounds, s, s, s, s, s, s, s, s, s, s, s, s);
}

template <class S>
constexpr Entries<S> entries = {tape<S>, scratch<S>, forward<S>, backward<S>, readout<S>, apply<S>};

}  // namespace

extern const Kernels table;
const Kernels table = {BPTT_NAME, entries<float>, entries<double>, multiply_add, 2.0 * 12 * V<float>};

}  // namespace bptt::BPTT_ISA
