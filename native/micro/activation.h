// tanh and the logistic function: free of branches, within 2 units in the last place everywhere (tests/native says how far),
// exact at the infinities, NaN for NaN. Small arguments of tanh keep their relative accuracy: it is made of exp(x) - 1.
#pragma once

#include "coefficients.h"
#include "vector.h"

namespace bptt::BPTT_ISA {
namespace {

template <class S>
struct Float;

template <>
struct Float<float> {
    static constexpr float magic = 12582912.0f;  // 1.5 · 2^23: adding it rounds to whole numbers
    static constexpr int mantissa = 23, bias = 127;
    static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    static constexpr float least_exp = -104.5f;  // exp of it rounds to 0
    static constexpr float flat_tanh = -20.0f;   // tanh(10) rounds to 1
};

template <>
struct Float<double> {
    static constexpr double magic = 6755399441055744.0;
    static constexpr int mantissa = 52, bias = 1023;
    static constexpr double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
    static constexpr double least_exp = -746.0;
    static constexpr double flat_tanh = -44.0;
};

// y = n ln 2 + r with n whole and |r| ≤ ln(2)/2.
template <class S>
struct Reduced {
    Vec<S> n;
    Whole<S> shifted;  // n, in the lowest bits
    Vec<S> small;      // exp(r) - 1
};

// c[0] + c[1] r + ... of degree D, in a tree: half as long a chain of operations as one after the other.
template <class S, int D>
BPTT_INLINE Vec<S> polynomial(const S* c, Vec<S> r, Vec<S> r2, Vec<S> r4) {
    if constexpr (D == 0) return splat(c[0]);
    else if constexpr (D == 1) return r * c[1] + c[0];
    else if constexpr (D < 4) return polynomial<S, D - 2>(c + 2, r, r2, r4) * r2 + polynomial<S, 1>(c, r, r2, r4);
    else return polynomial<S, D - 4>(c + 4, r, r2, r4) * r4 + polynomial<S, 3>(c, r, r2, r4);
}

template <class S>
BPTT_INLINE Reduced<S> reduce(Vec<S> y) {
    using F = Float<S>;
    const Vec<S> shifted = y * S(1.44269504088896340736) + F::magic;
    const Vec<S> n = shifted - F::magic;
    const Vec<S> r = (y - n * F::ln2_high) - n * F::ln2_low, r2 = r * r;
    return {n, (Whole<S>)shifted, polynomial<S, Exponential<S>::degree>(Exponential<S>::q, r, r2, r2 * r2) * r2 + r};
}

template <class S>
BPTT_INLINE Vec<S> power_of_two(Whole<S> n) {
    return (Vec<S>)((n + Float<S>::bias) << Float<S>::mantissa);
}

// v · 2^n, denormal results included.
template <class S>
BPTT_INLINE Vec<S> scaled(Vec<S> v, const Reduced<S>& e) {
#if BPTT_VECTOR_BYTES == 64
    if constexpr (sizeof(S) == 4) return (Vec<S>)_mm512_scalef_ps((__m512)v, (__m512)e.n);
    else return (Vec<S>)_mm512_scalef_pd((__m512d)v, (__m512d)e.n);
#else
    // In two halves, for neither may leave the range.
    const Whole<S> n = e.shifted - (Whole<S>)splat(Float<S>::magic), half = n >> 1;
    return (v * power_of_two<S>(half)) * power_of_two<S>(n - half);
#endif
}

template <class S>
BPTT_INLINE Vec<S> magnitude(Vec<S> x) {
    return (Vec<S>)((Whole<S>)x & ~(Whole<S>)splat(S(-0.0)));
}

// 1/d for d between 1 and 2.
template <class S>
BPTT_INLINE Vec<S> reciprocal(Vec<S> d) {
#if BPTT_VECTOR_BYTES == 64
    if constexpr (sizeof(S) == 4) {
        const Vec<S> near = (Vec<S>)_mm512_rcp14_ps((__m512)d);
        return near + near * (S(1) - d * near);
    }
#endif
    return S(1) / d;
}

template <class S>
BPTT_INLINE Vec<S> logistic(Vec<S> x) {
    const Vec<S> y = at_least<S>(-magnitude<S>(x), Float<S>::least_exp);
    const Reduced<S> e = reduce<S>(y);
    const Vec<S> grown = scaled<S>(e.small + S(1), e);
    const Vec<S> share = reciprocal<S>(grown + S(1));
    return x < S(0) ? grown * share : share;
}

template <class S>
BPTT_INLINE Vec<S> hyperbolic(Vec<S> x) {
    const Vec<S> y = at_least<S>(magnitude<S>(x) * S(-2), Float<S>::flat_tanh);
    const Reduced<S> e = reduce<S>(y);
    // The magic number's own bits vanish in the shift: what is left is n.
    const Vec<S> scale = (Vec<S>)((e.shifted << Float<S>::mantissa) + (Whole<S>)splat(S(1)));
    const Vec<S> minus = e.small * scale + (scale - S(1));  // exp(-2|x|) - 1, in (-1, 0]
    const Vec<S> size = -minus * reciprocal<S>(minus + S(2));
    return (Vec<S>)((Whole<S>)magnitude<S>(size) | ((Whole<S>)x & (Whole<S>)splat(S(-0.0))));
}

}  // namespace
}  // namespace bptt::BPTT_ISA
