// Products with weights as they lie, for calls of so few rows that packing would take longer than the products.
#pragma once

#include "pack.h"

namespace bptt::BPTT_ISA {
namespace {

// Rows of all steps up to which a call leaves its weights unpacked.
constexpr long unpacked_rows = 12;

// The inner products of a, of K elements, with V rows of W, [rows][K] dense; zero for rows from `real` on. The next V rows are
// fetched meanwhile where `more` says so.
template <class S>
BPTT_INLINE Vec<S> inner_products(const S* a, const S* W, long K, long real, bool more) {
    Vec<S> sum[V<S>] = {};
    if (real >= V<S>) {
        long k = 0;
        for (; k + V<S> <= K; k += V<S>)
            for (int i = 0; i < V<S>; i++) {
                sum[i] += load(a + k) * load(W + i * K + k);
                if (more) __builtin_prefetch(W + (V<S> + i) * K + k);
            }
        if (k < K)
            for (int i = 0; i < V<S>; i++) sum[i] += load_first(a + k, K - k) * load_first(W + i * K + k, K - k);
    } else {
        for (int i = 0; i < real; i++)
            for (long k = 0; k < K; k += V<S>) sum[i] += load_first(a + k, K - k) * load_first(W + i * K + k, K - k);
    }
    transpose<S>(sum);
    for (int apart = V<S> / 2; apart > 0; apart /= 2)
        for (int i = 0; i < apart; i++) sum[i] += sum[i + apart];
    return sum[0];
}

// Of gates' errors and their weights: gate g's errors begin at g·apart in a row of A, its weights at row row[g] of W, [..][n] dense.
template <class S>
struct GateRows {
    const S* W;
    long n, H, apart, row[4];
    int gates;
};

template <class S, int R>
BPTT_INLINE void gate_rows_strip(const S* A, long lda, const GateRows<S>& w, long v0, long width, const S* init, long ldi, S* C, long ldc) {
    constexpr int wide = 4;
    Vec<S> sum[R][wide] = {};
    for (int g = 0; g < w.gates; g++) {
        const S* W = w.W + w.row[g] * w.n + v0;
        for (long k = 0; k < w.H; k++, W += w.n) {
            Vec<S> b[wide];
            for (int v = 0; v < wide; v++) __builtin_prefetch(W + 2 * ahead * w.n + v * V<S>);
            for (int v = 0; v < wide; v++) b[v] = v * V<S> < width ? load_first(W + v * V<S>, w.n - v0 - v * V<S>) : Vec<S>{};
            for (int i = 0; i < R; i++)
                for (int v = 0; v < wide; v++) sum[i][v] += A[i * lda + g * w.apart + k] * b[v];
        }
    }
    for (int i = 0; i < R; i++)
        for (long v = 0; v * V<S> < width; v++) {
            const Vec<S> start = init ? load(init + i * ldi + v0 + v * V<S>) : Vec<S>{};
            store(C + i * ldc + v0 + v * V<S>, start + sum[i][v]);
        }
}

// C[:, v0 to v1] = init + Σ over gates of A · W, for M rows. C and init have room for whole vectors.
template <class S>
void gate_rows_product(long M, const S* A, long lda, const GateRows<S>& w, long v0, long v1, const S* init, long ldi, S* C, long ldc) {
    for (long v = v0; v < v1; v += 4 * V<S>) {
        const long width = least(4 * V<S>, v1 - v);
        for (long i = 0; i < M;) {
            const S* from = init ? init + i * ldi : nullptr;
            if (M - i >= 4) gate_rows_strip<S, 4>(A + i * lda, lda, w, v, width, from, ldi, C + i * ldc, ldc), i += 4;
            else gate_rows_strip<S, 1>(A + i * lda, lda, w, v, width, from, ldi, C + i * ldc, ldc), i++;
        }
    }
}

}  // namespace
}  // namespace bptt::BPTT_ISA
