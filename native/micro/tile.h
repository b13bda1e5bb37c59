// The products: C = init + A · B, with B packed in panels, held in registers tile by tile.
#pragma once

#include "vector.h"

namespace bptt::BPTT_ISA {
namespace {

// Rows of the largest tile, and accumulators a tile may hold.
#if BPTT_VECTOR_BYTES == 64
constexpr int MR = 14, accumulators = 28;
#elif defined(__aarch64__)
constexpr int MR = 12, accumulators = 24;
#else
constexpr int MR = 6, accumulators = 12;
#endif

// Inner steps after which partial sums go to memory: what is read of A and B meanwhile stays near.
constexpr long inner_block = 1024;

// Inner steps by which B is fetched before its use: the second cache's latency.
constexpr int ahead = 8;

// One summand of a product: K inner steps of A times panels of B that lie ps apart.
// A lies [i][k], rows lda apart; or, where a tile is told that it is transposed, [k][i], steps lda apart.
template <class S>
struct Term {
    const S* A;
    long lda;
    const S* B;
    long ps, K;
    bool far = false;  // B is larger than far_bytes
};

// From memory a panel comes more slowly than one tile uses it, and the next tiles find it near. So that it comes evenly, each tile
// fetches its share of the panel that is next in memory: `by` elements every inner step, beginning where those before have ended,
// `first` elements for every step.
struct Soon {
    long first, by;
};

// A matrix of more bytes does not stay near from step to step.
constexpr long far_bytes = 4 << 20;

// C[i][p·cs + v] = init[i][p·cs + v] + Σ_terms Σ_k A[i][k] B[p·ps + k·N·V + v], for R rows and P panels of N vectors.
// init may be C, or null for zero. Of a transposed product's C no more than the first `columns` are touched.
template <class S, int R, int P, int N, bool Transposed, class... Fetches>
[[gnu::noinline]] void tile(const Term<S>* term, int terms, const S* init, long ldi, S* C, long ldc, long cs, long columns,
                            Fetches... fetches) {
    // A small tile's sums are chains too few to keep the arithmetic units busy: every so many inner steps have their own.
    constexpr int chains = R * P * N >= 8 ? 1 : R * P * N >= 4 ? 2 : 4;
    Vec<S> sum[chains][R][P * N] = {};
    for (int i = 0; i < R; i++)
        for (int p = 0; p < P; p++)
            for (int v = 0; v < N; v++) __builtin_prefetch(C + i * ldc + p * cs + v * V<S>, 1);
    for (const Term<S>* end = term + terms; term < end; term++) {
        const S* B = term->B;
        const long ps = term->ps, lda = term->lda;
        [[maybe_unused]] const S* coming = B + term->K * N * V<S>;
        ((coming += term->K * fetches.first), ...);
        // Three rows to a pointer: x86 addresses base, base + lda and base + 2 lda without another register. The empty assembly
        // keeps the compiler from making them one pointer and a dozen offsets again.
        constexpr int group = Transposed ? R : 3;
        const long next = Transposed ? lda : 1;
        const S* row[(R + group - 1) / group];
        for (int g = 0; g * group < R; g++) {
            row[g] = term->A + g * group * (Transposed ? 1 : lda);
            asm("" : "+r"(row[g]));
        }
        const auto inner_step = [&](int chain) {
            Vec<S> b[P * N];
            for (int p = 0; p < P; p++)
                for (int v = 0; v < N; v++) {
                    b[p * N + v] = load(B + p * ps + v * V<S>);
                    // With one row the loads alone keep their unit busy.
                    if constexpr (R > 1) __builtin_prefetch(B + p * ps + (ahead * N + v) * V<S>);
                }
            if constexpr (Transposed) __builtin_prefetch(row[0] + 2 * ahead * next);
            for (int i = 0; i < R; i++) {
                const Vec<S> a = splat(row[i / group][(i % group) * (Transposed ? 1 : lda)]);
                for (int q = 0; q < P * N; q++) sum[chain][i][q] += a * b[q];
            }
            ((__builtin_prefetch(coming, 0, 2), coming += fetches.by), ...);
            B += N * V<S>;
            for (const S*& at : row) at += next;
        };
        long k = term->K;
        if constexpr (chains > 1)
            for (; k >= chains; k -= chains)
                for (int chain = 0; chain < chains; chain++) inner_step(chain);
#pragma GCC unroll 4
        for (; k > 0; k--) inner_step(0);
    }
    for (int apart = chains / 2; apart > 0; apart /= 2)
        for (int chain = 0; chain < apart; chain++)
            for (int i = 0; i < R; i++)
                for (int q = 0; q < P * N; q++) sum[chain][i][q] += sum[chain + apart][i][q];
    for (int i = 0; i < R; i++)
        for (int p = 0; p < P; p++)
            for (int v = 0; v < N; v++) {
                const long at = p * cs + v * V<S>;
                const long n = Transposed ? columns - at : V<S>;
                const Vec<S> start = init ? load_first(init + i * ldi + at, n) : Vec<S>{};
                store_first(C + i * ldc + at, start + sum[0][i][p * N + v], n);
            }
}

template <class S, int P, int N, bool Transposed, int R = 1, class... Fetches>
BPTT_INLINE void tile_of(long rows, const Term<S>* term, int terms, const S* init, long ldi, S* C, long ldc, long cs, long columns,
                         Fetches... fetches) {
    if constexpr (R <= MR && R * P * 2 <= accumulators) {
        if (rows == R) return tile<S, R, P, N, Transposed>(term, terms, init, ldi, C, ldc, cs, columns, fetches...);
        tile_of<S, P, N, Transposed, R + 1>(rows, term, terms, init, ldi, C, ldc, cs, columns, fetches...);
    }
}

template <class S, int P, int N, bool Transposed>
BPTT_INLINE void tile_of(long rows, const Term<S>* term, int terms, const S* init, long ldi, S* C, long ldc, long cs) {
    tile_of<S, P, N, Transposed>(rows, term, terms, init, ldi, C, ldc, cs, P * N * V<S>);
}

constexpr int most_terms = 2;

template <int n>
struct Side {
    static constexpr int value = n;
};

// As many panels side by side as keep the arithmetic units busy with few rows.
template <class S, int N>
BPTT_INLINE void few_rows(long M, const Term<S>* term, int terms, long panels, const S* init, long ldi, S* C, long ldc, long cs) {
    const long widest = least(4, accumulators / (2 * M));
    long p = 0;
    const auto go = [&](auto side) {
        constexpr int P = decltype(side)::value;
        Term<S> at[most_terms];
        for (int t = 0; t < terms; t++) at[t] = {term[t].A, term[t].lda, term[t].B + p * term[t].ps, term[t].ps, term[t].K};
        tile_of<S, P, N, false>(M, at, terms, init ? init + p * cs : init, ldi, C + p * cs, ldc, cs);
        p += P;
    };
    while (p < panels) {
        const long left = panels - p, groups = (left + widest - 1) / widest, side = (left + groups - 1) / groups;
        if (side == 4) go(Side<4>{});
        else if (side == 3) go(Side<3>{});
        else if (side == 2) go(Side<2>{});
        else go(Side<1>{});
    }
}

// M rows times `panels` panels of N vectors each.
template <class S, int N>
void product_of(long M, const Term<S>* term, int terms, long panels, const S* init, long ldi, S* C, long ldc, long cs) {
    long deepest = 0;
    for (int t = 0; t < terms; t++) deepest = most(deepest, term[t].K);
    if (M * 4 <= accumulators && panels > 1 && deepest <= 2 * inner_block)
        return few_rows<S, N>(M, term, terms, panels, init, ldi, C, ldc, cs);
    if (terms > 1 && deepest > inner_block) {
        for (int t = 0; t < terms; t++) product_of<S, N>(M, term + t, 1, panels, t ? C : init, t ? ldc : ldi, C, ldc, cs);
        return;
    }
    const long blocks = (M + MR - 1) / MR, pieces = terms > 1 ? 1 : (deepest + inner_block - 1) / inner_block;
    constexpr long wide = N * V<S>;
    const long by = (wide + blocks - 1) / blocks;
    const bool far = N == 2 && blocks > 1 && (term[0].far || term[terms - 1].far);
    for (long p = 0; p < panels; p++)
        for (long piece = 0; piece < pieces; piece++) {
            const S* from = piece ? C + p * cs : init ? init + p * cs : nullptr;
            const long ldf = piece ? ldc : ldi;
            for (long block = 0; block < blocks; block++) {
                const long m0 = M * block / blocks, m1 = M * (block + 1) / blocks;
                Term<S> at[most_terms];
                for (int t = 0; t < terms; t++) {
                    const long k0 = term[t].K * piece / pieces, k1 = term[t].K * (piece + 1) / pieces;
                    at[t] = {term[t].A + m0 * term[t].lda + k0, term[t].lda, term[t].B + p * term[t].ps + k0 * N * V<S>, 0, k1 - k0};
                }
                const S* const start = from ? from + m0 * ldf : nullptr;
                S* const to = C + m0 * ldc + p * cs;
                const Soon soon{block * by, by};
                if (far && soon.first < wide) tile_of<S, 1, N, false>(m1 - m0, at, terms, start, ldf, to, ldc, cs, wide, soon);
                else tile_of<S, 1, N, false>(m1 - m0, at, terms, start, ldf, to, ldc, cs);
            }
        }
}

// A matrix packed in panels of NR columns (the last may be V wide): panel p begins at p·K·NR, and lies [k][width].
template <class S>
struct Packed {
    S* data;
    long K, columns;  // columns as they are, not rounded up

    BPTT_INLINE long panels() const { return (columns + NR<S> - 1) / NR<S>; }
    BPTT_INLINE S* panel(long p) const { return data + p * K * NR<S>; }
    // Vectors in a panel: 2, or 1 in a narrow last one.
    BPTT_INLINE int vectors(long p) const { return columns - p * NR<S> > V<S> ? 2 : 1; }
    static long size(long K, long columns) { return K * round_up(columns, V<S>); }
    bool far() const { return size(K, columns) * long(sizeof(S)) > far_bytes; }
};

// C[:, of the panels] = init + A · B. C and init have room for whole vectors.
template <class S>
void product(long M, const S* A, long lda, const Packed<S>& B, long p0, long p1, const S* init, long ldi, S* C, long ldc) {
    const long wide = B.vectors(B.panels() - 1) == 2 ? p1 : least(p1, B.panels() - 1);
    const auto part = [&](auto vectors, long p, long panels) {
        const long at = p * NR<S>;
        const Term<S> term{A, lda, B.panel(p), B.K * NR<S>, B.K, B.far()};
        product_of<S, decltype(vectors)::value>(M, &term, 1, panels, init ? init + at : init, ldi, C + at, ldc, NR<S>);
    };
    if (wide > p0) part(Side<2>{}, p0, wide - p0);
    if (wide < p1) part(Side<1>{}, wide, 1);
}

}  // namespace
}  // namespace bptt::BPTT_ISA
