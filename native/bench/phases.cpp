// Where the time of one layer goes, by phase, in milliseconds of the first thread; and the fraction of the peak. All of the fastest
// of many calls: other processes only ever add to a time.
//
//     bptt_phases CELL T B I H [threads = 2] [seconds = 2]      CELL: 0 rnn, 1 gru, 2 lstm
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <vector>

#include "sequence/kernels.h"
#include "sequence/phases.h"

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::vector<float> numbers(std::size_t n, double scale) {
    std::vector<float> found(n);
    for (std::size_t i = 0; i < n; i++) found[i] = float(scale * (double(i * 2654435761U % 1000) / 500 - 1));
    return found;
}

// Calls, and keeps the time and the phases where this call is the fastest so far.
struct Fastest {
    double seconds = std::numeric_limits<double>::infinity();
    double phases[int(bptt::Phase::count)] = {};

    template <class Call>
    void take(Call call) {
        std::fill(std::begin(bptt::phase_seconds), std::end(bptt::phase_seconds), 0.0);
        const double start = now();
        call();
        const double taken = now() - start;
        if (taken >= seconds) return;
        seconds = taken;
        std::copy(std::begin(bptt::phase_seconds), std::end(bptt::phase_seconds), phases);
    }
    void print(const char* pass, double operations, double peak) const {
        std::printf("  %s %.3f ms, %.0f %% of the peak:", pass, seconds * 1e3, 100 * operations / seconds / peak);
        const char* const names[] = {"prepare", "input", "state", "gates", "dx", "pack", "dw"};
        for (int i = 0; i < int(bptt::Phase::count); i++)
            if (phases[i] > 0) std::printf("  %s %.3f", names[i], phases[i] * 1e3);
        std::printf("\n");
    }
};

}  // namespace

int main(int count, char** words) {
    if (count < 6) return std::fprintf(stderr, "bptt_phases CELL T B I H [threads] [seconds]\n"), 2;
    const auto word = [&](int n) { return std::strtol(words[n], nullptr, 10); };
    const long kind = word(1), T = word(2), B = word(3), I = word(4), H = word(5), G = kind == 0 ? 1 : kind == 1 ? 3 : 4;
    const bptt::Shape s{bptt::Cell(kind), bptt::Activation::tanh, false, T, B, I, H, 0, std::numeric_limits<double>::infinity(),
                        count > 6 ? word(6) : 2, nullptr, nullptr};
    const double seconds = count > 7 ? std::strtod(words[7], nullptr) : 2;
    const bptt::Kernels& kernels = bptt::kernels();
    const bptt::TapeSize tape = kernels.f32.tape(s);
    const auto n = [](long size) { return std::size_t(size); };
    const double scale = 1 / std::sqrt(double(H));
    auto x = numbers(n(T * B * I), 1), h0 = numbers(n(B * H), 0), w_ih = numbers(n(G * H * I), scale), w_hh = numbers(n(G * H * H), scale);
    auto b_ih = numbers(n(G * H), scale), b_hh = b_ih, c0 = h0, h_end = h0, c_end = h0, dh0 = h0, dc0 = h0, dx = x, dw_ih = w_ih;
    auto dw_hh = w_hh, db_ih = b_ih, db_hh = b_ih, y = numbers(n(T * B * H), 0), dy = numbers(n(T * B * H), 1);
    std::vector<float> gates(tape.gates), cells(tape.cells);
    const bptt::Forward<float> f{s, x.data(), B * I, I, h0.data(), c0.data(), w_ih.data(), w_hh.data(), b_ih.data(), b_hh.data(),
                                 nullptr, y.data(), h_end.data(), c_end.data(), gates.data(), cells.data()};
    const bptt::Backward<float> b{s, x.data(), B * I, I, h0.data(), c0.data(), w_ih.data(), w_hh.data(), nullptr, y.data(),
                                  gates.data(), cells.data(), dy.data(), B * H, H, nullptr, nullptr, dx.data(), dh0.data(), dc0.data(),
                                  dw_ih.data(), dw_hh.data(), db_ih.data(), db_hh.data(), nullptr};
    Fastest forward, backward;
    long calls = 0;
    for (const double end = now() + seconds; now() < end || calls < 2; calls++) {
        forward.take([&] { kernels.f32.forward(f); });
        backward.take([&] { kernels.f32.backward(b); });
    }
    double peak = 0;
    for (int i = 0; i < 5; i++) {
        constexpr long rounds = 1000000;
        const double start = now();
        kernels.multiply_add(rounds);
        peak = std::max(peak, rounds * kernels.operations / (now() - start) * double(s.threads));
    }
    const double operations = 2.0 * double(T * B) * double(G * H) * double(I + H), both = forward.seconds + backward.seconds;
    std::printf("%s, %ld threads: %.3f ms, %.0f %% of the peak of %.0f GFLOP/s\n", kernels.name, s.threads, both * 1e3,
                300 * operations / both / peak, peak * 1e-9);
    forward.print("forward", operations, peak);
    backward.print("backward", 2 * operations, peak);
}
