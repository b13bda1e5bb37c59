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

// c[0] + c[1] r + ... of degree D, in a tree: half as long a chain of operations as one after the other.
template <class S, int D>
BPTT_INLINE Vec<S> polynomial(const S* c, Vec<S> r, Vec<S> r2, Vec<S> r4) {
    if constexpr (D == 0) return splat(c[0]);
    else if constexpr (D == 1) return r * c[1] + c[0];
    else if constexpr (D < 4) return polynomial<S, D - 2>(c + 2, r, r2, r4) * r2 + polynomial<S, 1>(c, r, r2, r4);
    else return polynomial<S, D - 4>(c + 4, r, r2, r4) * r4 + polynomial<S, 3>(c, r, r2, r4);
}

template <class S>
BPTT_INLINE Vec<S> power_of_two(Whole<S> n) {
    return (Vec<S>)((n + Float<S>::bias) << Float<S>::mantissa);
}

// v · 2^n, denormal results included.
template <class S>
BPTT_INLINE Vec<S> scaled(Vec<S> v, Vec<S> n, [[maybe_unused]] Whole<S> shifted) {
#if BPTT_VECTOR_BYTES == 64
    if constexpr (sizeof(S) == 4) return (Vec<S>)_mm512_maskz_scalef_ps(0xffff, (__m512)v, (__m512)n);  // GCC warns of its header's plain ones
    else return (Vec<S>)_mm512_maskz_scalef_pd(0xff, (__m512d)v, (__m512d)n);
#else
    (void)n;
    // In two halves, for neither may leave the range.
    const Whole<S> whole = shifted - (Whole<S>)splat(Float<S>::magic), half = whole >> 1;
    return (v * power_of_two<S>(half)) * power_of_two<S>(whole - half);
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
        const Vec<S> near = (Vec<S>)_mm512_maskz_rcp14_ps(0xffff, (__m512)d);
        return near + near * (S(1) - d * near);
    }
#endif
    return S(1) / d;
}

// The logistic function of the first L of x, tanh of the H after them, in place. All of them take each operation together: one
// after the other, their long chains would leave the arithmetic units waiting.
template <class S, int L, int H>
BPTT_INLINE void squash(Vec<S> (&x)[L + H]) {
    using F = Float<S>;
    constexpr int all = L + H;
    Vec<S> y[all], n[all], r[all], small[all];
    Whole<S> shifted[all];
    for (int i = 0; i < L; i++) y[i] = at_least<S>(-magnitude<S>(x[i]), F::least_exp);
    for (int i = L; i < all; i++) y[i] = at_least<S>(magnitude<S>(x[i]) * S(-2), F::flat_tanh);
    // y = n ln 2 + r with n whole, in the lowest bits of `shifted`, and |r| ≤ ln(2)/2; small = exp(r) - 1.
    for (int i = 0; i < all; i++) {
        const Vec<S> moved = y[i] * S(1.44269504088896340736) + F::magic;
        shifted[i] = (Whole<S>)moved;
        n[i] = moved - F::magic;
    }
    for (int i = 0; i < all; i++) r[i] = (y[i] - n[i] * F::ln2_high) - n[i] * F::ln2_low;
    for (int i = 0; i < all; i++) {
        const Vec<S> r2 = r[i] * r[i];
        small[i] = polynomial<S, Exponential<S>::degree>(Exponential<S>::q, r[i], r2, r2 * r2) * r2 + r[i];
    }
    for (int i = 0; i < L; i++) {
        const Vec<S> grown = scaled<S>(small[i] + S(1), n[i], shifted[i]);
        const Vec<S> share = reciprocal<S>(grown + S(1));
        x[i] = x[i] < S(0) ? grown * share : share;
    }
    for (int i = L; i < all; i++) {
        // The magic number's own bits vanish in the shift: what is left is n.
        const Vec<S> scale = (Vec<S>)((shifted[i] << F::mantissa) + (Whole<S>)splat(S(1)));
        const Vec<S> minus = small[i] * scale + (scale - S(1));  // exp(-2|x|) - 1, in (-1, 0]
        const Vec<S> size = -minus * reciprocal<S>(minus + S(2));
        x[i] = (Vec<S>)((Whole<S>)magnitude<S>(size) | ((Whole<S>)x[i] & (Whole<S>)splat(S(-0.0))));
    }
}

template <class S>
BPTT_INLINE Vec<S> logistic(Vec<S> x) {
    Vec<S> one[] = {x};
    squash<S, 1, 0>(one);
    return one[0];
}

template <class S>
BPTT_INLINE Vec<S> hyperbolic(Vec<S> x) {
    Vec<S> one[] = {x};
    squash<S, 0, 1>(one);
    return one[0];
}

}  // namespace
}  // namespace bptt::BPTT_ISA
