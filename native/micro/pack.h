// Lays matrices out as the products read them.
#pragma once

#include "tile.h"

namespace bptt::BPTT_ISA {
namespace {

template <int n, int... lanes>
struct Count : Count<n - 1, n - 1, lanes...> {};
template <int... lanes>
struct Count<0, lanes...> {};

// Of each pair of columns D apart: the first ones of a and b, and the second ones.
template <class S, int D, int... lanes>
BPTT_INLINE Vec<S> firsts(Vec<S> a, Vec<S> b, Count<0, lanes...>) {
    return __builtin_shufflevector(a, b, (lanes & D ? int(V<S>) + lanes - D : lanes)...);
}
template <class S, int D, int... lanes>
BPTT_INLINE Vec<S> seconds(Vec<S> a, Vec<S> b, Count<0, lanes...>) {
    return __builtin_shufflevector(a, b, (lanes & D ? int(V<S>) + lanes : lanes + D)...);
}

// A square block, transposed in registers.
template <class S, int D = 1>
BPTT_INLINE void transpose(Vec<S> (&row)[V<S>]) {
    for (int i = 0; i < V<S>; i++) {
        if (i & D) continue;
        const Vec<S> a = row[i], b = row[i + D];
        row[i] = firsts<S, D>(a, b, Count<V<S>>{});
        row[i + D] = seconds<S, D>(a, b, Count<V<S>>{});
    }
    if constexpr (2 * D < V<S>) transpose<S, 2 * D>(row);
}

// Panel p of the transposed matrix: columns are rows of W, [n][K] dense. Missing columns become zero.
template <class S>
void pack_transposed(const S* W, long n, long K, long p, S* to) {
    const long first = p * NR<S>, width = least(NR<S>, round_up(n - first, V<S>));
    for (long k = 0; k < K; k += V<S>)
        for (long u = 0; u < width; u += V<S>) {
            const long real = least(V<S>, n - first - u), deep = least(V<S>, K - k);
            const S* from = W + (first + u) * K + k;
            Vec<S> row[V<S>];
            for (int i = 0; i < V<S>; i++) row[i] = i < real ? load_first(from + i * K, deep) : Vec<S>{};
            transpose<S>(row);
            for (long i = 0; i < deep; i++) store(to + (k + i) * width + u, row[i]);
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
