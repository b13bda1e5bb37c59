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
    Whole<S> n;
    Vec<S> small;  // exp(r) - 1
};

template <class S>
BPTT_INLINE Reduced<S> reduce(Vec<S> y) {
    using F = Float<S>;
    const Vec<S> shifted = y * S(1.44269504088896340736) + F::magic;
    const Vec<S> n = shifted - F::magic;
    const Vec<S> r = (y - n * F::ln2_high) - n * F::ln2_low;
    constexpr int degree = Exponential<S>::degree;
    Vec<S> q = splat(Exponential<S>::q[degree]);
#pragma GCC unroll 16
    for (int k = degree - 1; k >= 0; k--) q = q * r + Exponential<S>::q[k];
    return {(Whole<S>)shifted - (Whole<S>)splat(F::magic), (r * r) * q + r};
}

template <class S>
BPTT_INLINE Vec<S> power_of_two(Whole<S> n) {
    return (Vec<S>)((n + Float<S>::bias) << Float<S>::mantissa);
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
    // In two halves: the result may be denormal.
    const Whole<S> half = e.n >> 1;
    const Vec<S> grown = ((e.small + S(1)) * power_of_two<S>(half)) * power_of_two<S>(e.n - half);
    const Vec<S> share = reciprocal<S>(grown + S(1));
    return x < S(0) ? grown * share : share;
}

template <class S>
BPTT_INLINE Vec<S> hyperbolic(Vec<S> x) {
    const Vec<S> y = at_least<S>(magnitude<S>(x) * S(-2), Float<S>::flat_tanh);
    const Reduced<S> e = reduce<S>(y);
    const Vec<S> scale = power_of_two<S>(e.n);
    const Vec<S> minus = e.small * scale + (scale - S(1));  // exp(-2|x|) - 1, in (-1, 0]
    const Vec<S> size = -minus * reciprocal<S>(minus + S(2));
    return (Vec<S>)((Whole<S>)size | ((Whole<S>)x & (Whole<S>)splat(S(-0.0))));
}

}  // namespace
}  // namespace bptt::BPTT_ISA
