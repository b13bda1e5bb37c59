// Where the time of one layer goes, by phase, in milliseconds of the first thread; and the fraction of the peak.
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

double median(std::vector<double>& seconds) {
    std::sort(seconds.begin(), seconds.end());
    return seconds[seconds.size() / 2];
}

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
                                  gates.data(), cells.data(), dy.data(), nullptr, nullptr, dx.data(), dh0.data(), dc0.data(),
                                  dw_ih.data(), dw_hh.data(), db_ih.data(), db_hh.data(), nullptr};
    kernels.f32.forward(f);
    kernels.f32.backward(b);
    for (double& phase : bptt::phase_seconds) phase = 0;
    std::vector<double> forward, backward;
    for (const double end = now() + seconds; now() < end || forward.empty();) {
        const double first = now();
        kernels.f32.forward(f);
        const double middle = now();
        kernels.f32.backward(b);
        forward.push_back(middle - first);
        backward.push_back(now() - middle);
    }
    constexpr long rounds = 5000000;
    const double start = now();
    kernels.multiply_add(rounds);
    const double peak = rounds * kernels.operations / (now() - start) * double(s.threads);
    const double operations = 2.0 * double(T * B) * double(G * H) * double(I + H), ff = median(forward), bb = median(backward);
    std::printf("%s, %ld threads: forward %.3f ms (%.0f %% of the peak), backward %.3f ms (%.0f %%), both %.0f %%\n", kernels.name,
                s.threads, ff * 1e3, 100 * operations / ff / peak, bb * 1e3, 200 * operations / bb / peak,
                300 * operations / (ff + bb) / peak);
    const char* const names[] = {"prepare", "input", "state", "gates", "dx", "pack", "dw"};
    for (int i = 0; i < int(bptt::Phase::count); i++)
        std::printf("  %s %.3f", names[i], bptt::phase_seconds[i] * 1e3 / double(forward.size()));
    std::printf("\n");
}
