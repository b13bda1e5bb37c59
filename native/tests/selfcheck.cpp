// The kernels beside the plain reference, on layers drawn at random: every cell, both types, masks, resets, both directions,
// clipping, projections, several threads, with and without a tape. Buffers are exactly as long as the contract says and hold NaN
// before they are written, so that a sanitizer sees every step beside the path.
//
//     bptt_selfcheck [layers = 300] [seed = 1] [most threads = 3] [largest size = 110]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>
#include <random>
#include <thread>

#include "readout.h"
#include "reference.h"
#include "sequence/kernels.h"
#include "sequence/loans.h"

namespace {

using bptt::Activation;
using bptt::Cell;
using reference::Layer;
using reference::Numbers;

std::mt19937_64 source;

long whole(long low, long high) { return std::uniform_int_distribution<long>(low, high)(source); }
bool one_in(long n) { return whole(1, n) == 1; }

// Rounded to float, so that both types are given the same.
Numbers normal(long n, double scale) {
    std::normal_distribution<double> draw(0, scale);
    Numbers found(static_cast<std::size_t>(n));
    for (double& v : found) v = static_cast<float>(draw(source));
    return found;
}

struct Drawn {
    Layer layer;
    std::vector<std::uint8_t> mask, reset;
};

std::vector<std::uint8_t> flags(long n, double share) {
    std::bernoulli_distribution draw(share);
    std::vector<std::uint8_t> found(static_cast<std::size_t>(n));
    for (auto& v : found) v = draw(source);
    return found;
}

void draw(Drawn& drawn, long most_threads, long largest) {
    const auto cell = Cell(whole(0, 2));
    const bool many_rows = one_in(5);  // for a layer so small: threads go apart, through several chunks
    const long small = one_in(2) ? (many_rows ? 24 : 6) : largest, T = many_rows ? 32 * whole(1, 4) : whole(1, 9);
    const long B = many_rows ? 8 * whole(1, 4) : whole(1, one_in(4) ? 40 : 6), I = whole(1, small), H = whole(1, small);
    const long P = cell == Cell::lstm && H > 1 && one_in(3) ? whole(1, H - 1) : 0, G = cell == Cell::rnn ? 1 : cell == Cell::gru ? 3 : 4;
    const long Y = P ? P : H;
    const double scale = 1 / std::sqrt(double(H));
    drawn.mask = one_in(2) ? flags(T * B, 0.7) : std::vector<std::uint8_t>{};
    if (one_in(3))  // rows that never take part: where threads split the batch, one has nothing to do
        for (std::size_t i = 0; i < drawn.mask.size(); i++)
            if (long(i) % B < B / 2) drawn.mask[i] = 0;
    drawn.reset = one_in(2) ? flags(T * B, 0.3) : std::vector<std::uint8_t>{};
    Layer& l = drawn.layer;
    l.shape = {cell, cell == Cell::rnn ? Activation(whole(0, 2)) : Activation::tanh, one_in(2), T, B, I, H, P,
               one_in(3) ? 0.05 : std::numeric_limits<double>::infinity(), whole(1, most_threads),
               drawn.mask.empty() ? nullptr : drawn.mask.data(), drawn.reset.empty() ? nullptr : drawn.reset.data()};
    const bool bias = !one_in(4), dy = !one_in(8), end = one_in(2);
    l.x = normal(T * B * I, 1);
    l.h0 = normal(B * Y, 1);
    if (cell == Cell::lstm) l.c0 = normal(B * H, 1);
    l.w_ih = normal(G * H * I, scale);
    l.w_hh = normal(G * H * Y, scale);
    if (bias) l.b_ih = normal(G * H, scale), l.b_hh = normal(G * H, scale);
    if (P) l.w_hr = normal(P * H, scale);
    if (dy) l.dy = normal(T * B * Y, 1);
    if (end) l.dh_end = normal(B * Y, 1);
    if (end && cell == Cell::lstm) l.dc_end = normal(B * H, 1);
}

template <class S>
class Buffer {
public:
    Buffer() = default;
    explicit Buffer(const Numbers& from) : data_(from.begin(), from.end()) {}
    explicit Buffer(std::size_t n) : data_(n, std::numeric_limits<S>::quiet_NaN()) {}
    S* get() { return data_.empty() ? nullptr : data_.data(); }
    const std::vector<S>& data() const { return data_; }

private:
    std::vector<S> data_;
};

template <class S>
const bptt::Entries<S>& entries() {
    if constexpr (sizeof(S) == 4) return bptt::kernels().f32;
    else return bptt::kernels().f64;
}

struct Worst {
    double error = 0;
    const char* what = "";
};

template <class S>
void compare(const char* what, const Buffer<S>& got, const Numbers& expected, Worst& worst) {
    double largest = 1e-2;
    for (const double v : expected) largest = std::max(largest, std::abs(v));
    for (std::size_t i = 0; i < got.data().size(); i++) {
        const double error = std::abs(double(got.data()[i]) - expected[i]) / largest;
        if (!(error <= worst.error)) worst = {error, what};  // NaN is worst
    }
}

template <class S>
Worst check(Layer& l) {
    const bptt::Shape& s = l.shape;
    const auto n = [](long size) { return static_cast<std::size_t>(size); };
    const long Y = s.P ? s.P : s.H;
    const bool lstm = s.cell == Cell::lstm;
    const bptt::TapeSize tape = entries<S>().tape(s);
    Buffer<S> x(l.x), h0(l.h0), c0(l.c0), w_ih(l.w_ih), w_hh(l.w_hh), b_ih(l.b_ih), b_hh(l.b_hh), w_hr(l.w_hr);
    Buffer<S> y(n(s.T * s.B * Y)), h_end(n(s.B * Y)), c_end(lstm ? n(s.B * s.H) : 0), gates(tape.gates), cells(tape.cells);
    const bptt::Forward<S> f{s, x.get(), s.B * s.I, s.I, h0.get(), c0.get(), w_ih.get(), w_hh.get(), b_ih.get(), b_hh.get(),
                             w_hr.get(), y.get(), h_end.get(), c_end.get(), gates.get(), cells.get()};
    entries<S>().forward(f);
    Buffer<S> y_free(y.data().size()), h_free(h_end.data().size()), c_free(c_end.data().size());
    bptt::Forward<S> free = f;
    free.y = y_free.get();
    free.h_end = h_free.get();
    free.c_end = c_free.get();
    free.gates = free.cells = nullptr;
    entries<S>().forward(free);
    Worst worst;
    compare("y", y, l.y, worst);
    compare("h_end", h_end, l.h_end, worst);
    compare("c_end", c_end, l.c_end, worst);
    if (std::memcmp(y.get(), y_free.get(), y.data().size() * sizeof(S)) != 0) worst = {1, "y without a tape"};

    Buffer<S> dy(l.dy), dh_end(l.dh_end), dc_end(l.dc_end), dx(x.data().size()), dh0(h0.data().size()), dc0(c0.data().size());
    Buffer<S> dw_ih(w_ih.data().size()), dw_hh(w_hh.data().size()), db_ih(b_ih.data().size()), db_hh(b_hh.data().size());
    Buffer<S> dw_hr(w_hr.data().size());
    const bptt::Backward<S> b{s, x.get(), s.B * s.I, s.I, h0.get(), c0.get(), w_ih.get(), w_hh.get(), w_hr.get(), y.get(),
                              gates.get(), cells.get(), dy.get(), s.B * Y, Y, dh_end.get(), dc_end.get(), dx.get(), dh0.get(), dc0.get(),
                              dw_ih.get(), dw_hh.get(), db_ih.get(), db_hh.get(), dw_hr.get()};
    entries<S>().backward(b);
    compare("dx", dx, l.dx, worst);
    compare("dh0", dh0, l.dh0, worst);
    compare("dc0", dc0, l.dc0, worst);
    compare("dw_ih", dw_ih, l.dw_ih, worst);
    compare("dw_hh", dw_hh, l.dw_hh, worst);
    compare("db_ih", db_ih, l.db_ih, worst);
    compare("db_hh", db_hh, l.db_hh, worst);
    compare("dw_hr", dw_hr, l.dw_hr, worst);
    return worst;
}

bool passes(const Layer& l, const char* type, const Worst& worst, double allowed) {
    if (worst.error <= allowed) return true;
    const bptt::Shape& s = l.shape;
    std::printf("%s: %s is off by %.1e: cell %d activation %d reverse %d T %ld B %ld I %ld H %ld P %ld clip %g threads %ld mask %d reset %d\n",
                type, worst.what, worst.error, int(s.cell), int(s.activation), int(s.reverse), s.T, s.B, s.I, s.H, s.P, s.clip_step,
                s.threads, int(s.mask != nullptr), int(s.reset != nullptr));
    return false;
}

int checks(long layers, std::uint64_t seed, long threads, long largest) {
    source.seed(seed);
    Worst of32, of64;
    bool whole = true;
    for (long n = 0; n < layers; n++) {
        Drawn drawn;
        draw(drawn, threads, largest);
        reference::Run run(drawn.layer);
        run.forward();
        run.backward();
        const Worst single = check<float>(drawn.layer), twice = check<double>(drawn.layer);
        of32.error = std::max(of32.error, single.error);
        of64.error = std::max(of64.error, twice.error);
        // What is not bounded grows, and its rounding with it; a gradient may be the small rest of large terms.
        const bool single_passes = passes(drawn.layer, "float32", single, 1e-3);
        whole = passes(drawn.layer, "float64", twice, 1e-10) && single_passes && whole;
    }
    std::printf("%s: %ld layers, largest error float32 %.1e, float64 %.1e: %s\n", bptt::kernels().name, layers, of32.error, of64.error,
                whole ? "passed" : "FAILED");
    return whole ? 0 : 1;
}

// Several threads borrow and give back; nobody may find another's mark in what is lent to him.
bool loans_are_kept_apart() {
    const auto borrow = [](std::size_t me, bool* right) {
        for (std::size_t n = 0; n < 200; n++) {
            bptt::Loan* loan = bptt::lend(bptt::least_loan + n % 5 * bptt::least_loan / 2);
            auto* mark = static_cast<std::size_t*>(loan->at);
            mark[0] = mark[loan->size / sizeof *mark - 1] = me;
            std::this_thread::yield();
            *right = *right && mark[0] == me && mark[loan->size / sizeof *mark - 1] == me;
            bptt::give_back(loan);
        }
    };
    bool right[3] = {true, true, true};
    std::vector<std::thread> threads;
    for (std::size_t n = 0; n < 3; n++) threads.emplace_back(borrow, n, &right[n]);
    for (std::thread& thread : threads) thread.join();
    return right[0] && right[1] && right[2];
}

bool loans_are_used_again() {
    bptt::release_idle();
    bptt::Loan* first = bptt::lend(bptt::least_loan);
    void* const at = first->at;
    bptt::give_back(first);
    bool right = bptt::idle_bytes() == first->size;
    bptt::Loan* large = bptt::lend(2 * bptt::least_loan);
    bptt::loan_bytes(true);
    bptt::Loan* again = bptt::lend(bptt::least_loan);
    right = right && again->at == at && large->at != at && bptt::idle_bytes() == 0;
    right = right && bptt::loan_bytes(false).most == again->size + large->size;
    bptt::give_back(large);
    bptt::give_back(again);
    bptt::release_idle();
    bptt::Loan* rounded = bptt::lend(3 * bptt::most_rounding + 1);  // to four of them, more than a quarter above
    void* const there = rounded->at;
    bptt::give_back(rounded);
    rounded = bptt::lend(3 * bptt::most_rounding + 1);
    right = right && rounded->at == there;
    bptt::give_back(rounded);
    bptt::release_idle();
    bptt::Loan* many[bptt::most_idle + 4];
    for (bptt::Loan*& loan : many) loan = bptt::lend(bptt::least_loan);
    for (bptt::Loan* loan : many) bptt::give_back(loan);
    right = right && bptt::idle_bytes() <= bptt::most_idle * (2 * bptt::least_loan);
    bptt::release_idle();
    right = right && bptt::loan_bytes(false).most > bptt::loan_bytes(false).now;
    return right && bptt::idle_bytes() == 0 && bptt::loan_bytes(true).now == 0 && bptt::loan_bytes(false).most == 0;
}

int loans() {
    const bool right = loans_are_used_again() && loans_are_kept_apart() && loans_are_used_again();
    if (!right) std::printf("loans of memory: FAILED\n");
    return right ? 0 : 1;
}

}  // namespace

int main(int count, char** words) {
    const auto word = [&](int n, long otherwise) { return count > n ? std::strtol(words[n], nullptr, 10) : otherwise; };
    try {
        return checks(word(1, 300), std::uint64_t(word(2, 1)), word(3, 3), word(4, 110)) | loans() | readouts(std::uint64_t(word(2, 1)), word(3, 3));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}
