// The contract of the readout: scores, softmax and cross-entropy over a vocabulary, and their gradients, without ever holding
// the scores of all rows. C++20, no torch, no Python.
#pragma once

#include <cstdint>

namespace bptt {

// E = Σ_n log Σ_v exp(s[n][v]) - s[n][target[n]] with s = h Wᵀ + b. Every matrix is row-major without gaps, aligned to its
// element, and valid throughout the call; results overlap neither each other nor what is given. Every result is written, none
// is added to.
template <class S>
struct Readout {
    long N, H, V;  // rows, features, symbols; at least 1 each
    long threads;  // at least 1; the same number gives the same bits

    const S* h;                  // [N][H]
    const S* W;                  // [V][H]
    const S* b;                  // [V], or null: none
    const std::int64_t* target;  // [N], each at least 0 and below V

    double* loss;  // [1]
    S* dh;         // [N][H], or null: not wanted
    S* dW;         // [V][H], or null: not wanted
    S* db;         // [V], or null: not wanted
};

}  // namespace bptt
