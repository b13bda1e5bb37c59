// The readout beside plain loops, on sizes drawn at random; buffers are exactly as long as the contract says.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <vector>

#include "sequence/kernels.h"

namespace {

template <class S>
double readout_error(long N, long H, long V, bool bias, long threads, std::mt19937_64& source) {
    std::normal_distribution<float> draw(0, 1);
    const auto drawn = [&](long n) {
        std::vector<S> made(static_cast<std::size_t>(n));
        for (S& v : made) v = draw(source);
        return made;
    };
    const std::vector<S> h = drawn(N * H), W = drawn(V * H), b = drawn(bias ? V : 0);
    std::vector<std::int64_t> target(static_cast<std::size_t>(N));
    for (auto& t : target) t = std::uniform_int_distribution<std::int64_t>(0, V - 1)(source);
    const S fresh = std::numeric_limits<S>::quiet_NaN();
    std::vector<S> dh(h.size(), fresh), dW(W.size(), fresh), db(std::size_t(V), fresh);
    double loss = 0, known = 0;
    const bptt::Readout<S> f{N, H, V, threads, h.data(), W.data(), bias ? b.data() : nullptr, target.data(), &loss, dh.data(), dW.data(), db.data()};
    if constexpr (sizeof(S) == 4) bptt::kernels().f32.readout(f);
    else bptt::kernels().f64.readout(f);
    std::vector<double> gh(h.size()), gW(W.size()), gb(std::size_t(V), 0.0), s(std::size_t(V), 0.0);
    const auto at = [](auto& matrix, long row, long width, long column) -> auto& { return matrix[std::size_t(row * width + column)]; };
    for (long n = 0; n < N; n++) {
        double top = -1e300, sum = 0;
        for (long v = 0; v < V; v++) {
            double score = bias ? double(b[std::size_t(v)]) : 0.0;
            for (long k = 0; k < H; k++) score += double(at(h, n, H, k)) * double(at(W, v, H, k));
            s[std::size_t(v)] = score;
            top = std::fmax(top, score);
        }
        for (double score : s) sum += std::exp(score - top);
        const auto right = std::size_t(target[std::size_t(n)]);
        known += top + std::log(sum) - s[right];
        for (long v = 0; v < V; v++) {
            const double error = std::exp(s[std::size_t(v)] - top) / sum - (std::size_t(v) == right ? 1.0 : 0.0);
            gb[std::size_t(v)] += error;
            for (long k = 0; k < H; k++) at(gh, n, H, k) += error * double(at(W, v, H, k));
            for (long k = 0; k < H; k++) at(gW, v, H, k) += error * double(at(h, n, H, k));
        }
    }
    double worst = std::fabs(loss - known) / (1 + std::fabs(known));
    const auto compare = [&](const std::vector<S>& found, const std::vector<double>& expected) {
        double largest = 1;
        for (double v : expected) largest = std::fmax(largest, std::fabs(v));
        for (std::size_t i = 0; i < found.size(); i++) {
            const double apart = std::fabs(double(found[i]) - expected[i]) / largest;
            if (!(apart <= worst)) worst = apart;  // NaN too
        }
    };
    compare(dh, gh);
    compare(dW, gW);
    compare(db, gb);
    return worst;
}

int readouts(std::uint64_t seed, long most_threads) {
    std::mt19937_64 source(seed);
    const auto whole = [&](long high) { return std::uniform_int_distribution<long>(1, high)(source); };
    int wrong = 0;
    for (int i = 0; i < 30; i++) {
        const long N = whole(i % 3 ? 40 : 700), H = whole(i % 2 ? 9 : 70), V = whole(i % 5 ? 60 : 700), threads = whole(most_threads);
        const bool bias = i % 4;
        const double single = readout_error<float>(N, H, V, bias, threads, source), twice = readout_error<double>(N, H, V, bias, threads, source);
        if (single < 2e-5 && twice < 1e-12) continue;
        std::printf("readout N=%ld H=%ld V=%ld bias=%d threads=%ld: %.1e in float, %.1e in double\n", N, H, V, bias, threads, single, twice);
        wrong++;
    }
    std::printf("30 readouts, %d wrong\n", wrong);
    return wrong != 0;
}

}  // namespace
