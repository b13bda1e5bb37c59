// One vector of the instruction set this translation unit is compiled for. Portable: GCC and Clang vector extensions.
//
// Everything below isa/ lives in namespace BPTT_ISA and in an unnamed one inside it, and uses no templates of std: the linker
// must never find two instruction sets' copies of one function and keep the wrong one.
#pragma once

#include <cstdint>
#include <cstring>

#if BPTT_VECTOR_BYTES == 64
#include <immintrin.h>
#endif

#define BPTT_INLINE [[gnu::always_inline]] inline

namespace bptt::BPTT_ISA {
namespace {

template <class S>
struct Lanes;

template <>
struct Lanes<float> {
    typedef float Vector __attribute__((vector_size(BPTT_VECTOR_BYTES)));
    typedef float Anywhere __attribute__((vector_size(BPTT_VECTOR_BYTES), aligned(4), may_alias));
    typedef std::int32_t Whole __attribute__((vector_size(BPTT_VECTOR_BYTES)));
};

template <>
struct Lanes<double> {
    typedef double Vector __attribute__((vector_size(BPTT_VECTOR_BYTES)));
    typedef double Anywhere __attribute__((vector_size(BPTT_VECTOR_BYTES), aligned(8), may_alias));
    typedef std::int64_t Whole __attribute__((vector_size(BPTT_VECTOR_BYTES)));
};

template <class S>
using Vec = typename Lanes<S>::Vector;

template <class S>
using Whole = typename Lanes<S>::Whole;

template <class S>
constexpr long V = BPTT_VECTOR_BYTES / sizeof(S);

// A panel of packed weights is this wide; the last one of a matrix may be V wide.
template <class S>
constexpr long NR = 2 * V<S>;

template <class S>
BPTT_INLINE Vec<S> load(const S* p) {
    return (Vec<S>)*(const typename Lanes<S>::Anywhere*)p;
}

template <class S>
BPTT_INLINE void store(S* p, Vec<S> v) {
    *(typename Lanes<S>::Anywhere*)p = (typename Lanes<S>::Anywhere)v;
}

template <class S>
BPTT_INLINE Vec<S> splat(S s) {
    return s - Vec<S>{};  // not +: that would lose the sign of -0
}

// The first n elements; the others are zero on loading and untouched in memory on storing. n may be V or more.
template <class S>
BPTT_INLINE Vec<S> load_first(const S* p, long n) {
    if (n >= V<S>) return load(p);
#if BPTT_VECTOR_BYTES == 64
    if constexpr (sizeof(S) == 4) return (Vec<S>)_mm512_maskz_loadu_ps(__mmask16((1u << n) - 1), p);
    else return (Vec<S>)_mm512_maskz_loadu_pd(__mmask8((1u << n) - 1), p);
#else
    S whole[V<S>] = {};
    std::memcpy(whole, p, std::size_t(n) * sizeof(S));
    return load(whole);
#endif
}

template <class S>
BPTT_INLINE void store_first(S* p, Vec<S> v, long n) {
    if (n >= V<S>) return store(p, v);
#if BPTT_VECTOR_BYTES == 64
    if constexpr (sizeof(S) == 4) _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), (__m512)v);
    else _mm512_mask_storeu_pd(p, __mmask8((1u << n) - 1), (__m512d)v);
#else
    S whole[V<S>];
    store(whole, v);
    std::memcpy(p, whole, std::size_t(n) * sizeof(S));
#endif
}

// NaN passes through both.
template <class S>
BPTT_INLINE Vec<S> at_least(Vec<S> v, S limit) {
    const Vec<S> bound = splat(limit);
    return v < bound ? bound : v;
}

template <class S>
BPTT_INLINE Vec<S> at_most(Vec<S> v, S limit) {
    const Vec<S> bound = splat(limit);
    return v > bound ? bound : v;
}

BPTT_INLINE long least(long a, long b) { return a < b ? a : b; }
BPTT_INLINE long most(long a, long b) { return a > b ? a : b; }
BPTT_INLINE long round_up(long n, long unit) { return (n + unit - 1) / unit * unit; }

}  // namespace
}  // namespace bptt::BPTT_ISA
