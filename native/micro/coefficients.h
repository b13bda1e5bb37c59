// Written by tools/minimax.py; do not edit.
#pragma once

namespace bptt::BPTT_ISA {
namespace {

// exp(r) - 1 = r + r² (q[0] + q[1] r + ...) for |r| ≤ ln(2)/2.
template <class S>
struct Exponential;

// Relative error of exp(r) - 1, rounding apart: 5.6e-10.
template <>
struct Exponential<float> {
    static constexpr int degree = 5;
    static constexpr float q[] = {
        0.500000001f,
        0.166666668f,
        0.0416664642f,
        0.00833328583f,
        0.00139337329f,
        0.000199077085f,
    };
};

// Relative error of exp(r) - 1, rounding apart: 5.7e-19.
template <>
struct Exponential<double> {
    static constexpr int degree = 10;
    static constexpr double q[] = {
        0.50000000000000000,
        0.16666666666666671,
        0.041666666666666684,
        0.0083333333333260829,
        0.0013888888888874304,
        0.00019841269875002846,
        2.4801587347567442e-5,
        2.7557255169384458e-6,
        2.7557252687387628e-7,
        2.5105312967492890e-8,
        2.0921667044944320e-9,
    };
};

}  // namespace
}  // namespace bptt::BPTT_ISA
