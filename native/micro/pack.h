// Lays matrices out as the products read them.
#pragma once

#include "tile.h"

namespace bptt::BPTT_ISA {
namespace {

// Panel p of the transposed matrix: columns are rows of W, [n][K] dense. Missing columns become zero.
template <class S>
void pack_transposed(const S* W, long n, long K, long p, S* to) {
    const long first = p * NR<S>, width = least(NR<S>, round_up(n - first, V<S>)), real = least(width, n - first);
    const S* from = W + first * K;
    constexpr long strip = 16;
    for (long k0 = 0; k0 < K; k0 += strip) {
        const long k1 = least(k0 + strip, K);
        for (long u = 0; u < real; u++)
            for (long k = k0; k < k1; k++) to[k * width + u] = from[u * K + k];
        for (long u = real; u < width; u++)
            for (long k = k0; k < k1; k++) to[k * width + u] = S(0);
    }
}

// Rows of panel p, `rows` of them from W [rows][n] dense, then zeros up to `padded`.
template <class S>
void pack_rows(const S* W, long n, long rows, long padded, long p, S* to) {
    const long first = p * NR<S>, width = least(NR<S>, round_up(n - first, V<S>));
    for (long k = 0; k < padded; k++)
        for (long v = 0; v < width; v += V<S>)
            store(to + k * width + v, k < rows && first + v < n ? load_first(W + k * n + first + v, n - first - v) : Vec<S>{});
}

// A[k][m], rows ld apart, for m in [0, M) and k in [0, K), as blocks of `rows` (the last may be shorter) lying [k][rows].
// Writes up to V elements past the end.
template <class S>
void pack_block(const S* A, long ld, long rows, long K, S* to) {
    for (long k = 0; k < K; k++)
        for (long m = 0; m < rows; m += V<S>) store(to + k * rows + m, load(A + k * ld + m));
}

}  // namespace
}  // namespace bptt::BPTT_ISA
