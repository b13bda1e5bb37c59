// bptt_native: the kernels for Python. Addresses come as plain integers (taking tensors through DLPack costs thirty times as
// much) from bptt.kernels.native, which has checked the tensors behind them; sizes and what may be null are checked again here.
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "direct.h"
#include "sequence/kernels.h"
#include "sequence/loans.h"
#include "sequence/team.h"

namespace nb = nanobind;
using namespace bptt;

namespace {

using Address = std::uintptr_t;

void need(bool holds, const char* what) {
    if (!holds) throw nb::value_error(what);
}

Shape shape_of(int cell, int activation, bool reverse, long T, long B, long I, long H, long P, double clip_step, long threads,
               Address mask, Address reset) {
    need(cell >= 0 && cell <= 2, "cell is 0 (rnn), 1 (gru) or 2 (lstm)");
    need(activation >= 0 && activation <= 2, "activation is 0 (tanh), 1 (relu) or 2 (identity)");
    need(T >= 1 && B >= 0 && I >= 1 && H >= 1, "T, I and H are at least 1, B at least 0");
    need(P >= 0 && P < H && (P == 0 || cell == 2), "P is the lstm's projection, below H");
    need(clip_step > 0, "clip_step is greater than 0; infinity does not clip");
    need(threads >= 1 && threads <= most_threads, "threads is between 1 and 256");
    constexpr double most = 1e14;
    need(double(T) * double(B) < 2147483647.0 && double(T) * double(B) * (double(I) + 4.0 * double(H)) < most &&
             4.0 * double(H) * (double(I) + double(H)) < most,
         "too large");
    return {Cell(cell), Activation(activation), reverse, T, B, I, H, P, clip_step, threads,
            reinterpret_cast<const std::uint8_t*>(mask), reinterpret_cast<const std::uint8_t*>(reset)};
}

// The tensors of a call in the order of the contract's fields; `required` letters: y yes, n may be null, l for the lstm, p with a
// projection, t with a tape, c with a tape of the lstm.
void need_addresses(const Shape& s, const Address* addresses, const char* required) {
    if (s.B == 0) return;
    const bool lstm = s.cell == Cell::lstm;
    for (int i = 0; required[i]; i++) {
        const char r = required[i];
        const bool wanted = r == 'y' || (r == 'l' && lstm) || (r == 'p' && s.P) || (r == 't' && s.cell != Cell::rnn) || (r == 'c' && lstm);
        need(!wanted || addresses[i], "a tensor that this call needs is null");
    }
}

template <class S, int N>
void read(nb::tuple given, Address (&to)[N]) {
    need(nb::len(given) == N, "wrong number of tensors");
    for (int i = 0; i < N; i++) to[i] = nb::cast<Address>(given[i]);
}

template <class S>
S* at(Address address) {
    return reinterpret_cast<S*>(address);
}

template <class S>
void forward(const Shape& s, long x_step, long x_row, nb::tuple tensors) {
    Address a[13];
    read<S>(tensors, a);
    need_addresses(s, a, "yylyynnpyylnn");
    const bool tape = a[11] || a[12];
    if (tape) need_addresses(s, a + 11, "tc");
    const Forward<S> f{s, at<const S>(a[0]), x_step, x_row, at<const S>(a[1]), at<const S>(a[2]), at<const S>(a[3]),
                       at<const S>(a[4]), at<const S>(a[5]), at<const S>(a[6]), at<const S>(a[7]), at<S>(a[8]), at<S>(a[9]),
                       at<S>(a[10]), at<S>(a[11]), at<S>(a[12])};
    const auto go = [&] {
        if constexpr (sizeof(S) == 4) kernels().f32.forward(f);
        else kernels().f64.forward(f);
    };
    nb::gil_scoped_release released;
    go();
}

template <class S>
void backward(const Shape& s, long x_step, long x_row, nb::tuple tensors) {
    Address a[20];
    read<S>(tensors, a);
    need_addresses(s, a, "yylyypytcnnnnnnnnnnn");
    const long Y = s.P ? s.P : s.H;
    const Backward<S> f{s, at<const S>(a[0]), x_step, x_row, at<const S>(a[1]), at<const S>(a[2]), at<const S>(a[3]),
                        at<const S>(a[4]), at<const S>(a[5]), at<const S>(a[6]), at<const S>(a[7]), at<const S>(a[8]),
                        at<const S>(a[9]), s.B * Y, Y, at<const S>(a[10]), at<const S>(a[11]), at<S>(a[12]), at<S>(a[13]), at<S>(a[14]),
                        at<S>(a[15]), at<S>(a[16]), at<S>(a[17]), at<S>(a[18]), at<S>(a[19])};
    const auto go = [&] {
        if constexpr (sizeof(S) == 4) kernels().f32.backward(f);
        else kernels().f64.backward(f);
    };
    nb::gil_scoped_release released;
    go();
}

template <class S>
double readout(long N, long H, long V, long threads, const Address (&a)[7]) {
    for (int i = 0; i < 2; i++) need(a[i], "h or W is null");
    need(a[3], "target is null");
    const auto* target = at<const std::int64_t>(a[3]);
    double loss = 0;
    const Readout<S> f{N, H, V, threads, at<const S>(a[0]), at<const S>(a[1]), at<const S>(a[2]), target, &loss, at<S>(a[4]), at<S>(a[5]),
                       at<S>(a[6])};
    nb::gil_scoped_release released;
    for (long n = 0; n < N; n++) need(target[n] >= 0 && target[n] < V, "a target is no symbol");
    if constexpr (sizeof(S) == 4) kernels().f32.readout(f);
    else kernels().f64.readout(f);
    return loss;
}

struct Timed {
    long rounds;
};

double peak(int threads, double seconds) {
    need(threads >= 1 && threads <= most_threads && seconds > 0 && seconds < 10, "threads from 1 to 256, seconds below 10");
    nb::gil_scoped_release released;
    Timed timed{20000};
    const auto part = [](void* context, int, Barrier&) { kernels().multiply_add(static_cast<Timed*>(context)->rounds); };
    const int team = team_size(threads);
    while (true) {
        const auto start = std::chrono::steady_clock::now();
        if (!run_team(team, part, &timed)) throw std::runtime_error("so many threads cannot be had");
        const double taken = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        if (taken >= seconds) return double(timed.rounds) * kernels().operations * team / taken;
        timed.rounds *= 2;
    }
}

}  // namespace

NB_MODULE(bptt_native, m) {
    m.doc() = "Native kernels of bptt: recurrent layers over a stretch of time. Called by bptt.kernels.native; see sequence.h.";
    kernels();
    m.def("isa", [] { return kernels().name; }, "The instruction set in use; the environment variable BPTT_ISA caps it.");
    m.def(
        "tape",
        [](bool f64, int cell, long T, long B, long I, long H) {
            const Shape s = shape_of(cell, 0, false, T, B, I, H, 0, INFINITY, 1, 0, 0);
            const TapeSize size = f64 ? kernels().f64.tape(s) : kernels().f32.tape(s);
            return std::pair<std::size_t, std::size_t>(size.gates, size.cells);
        },
        "Elements of the two parts of the tape.");
    m.def(
        "scratch",
        [](bool f64, int cell, long T, long B, long I, long H, long P, long threads) {
            const Shape s = shape_of(cell, 0, false, T, B, I, H, P, INFINITY, threads, 0, 0);
            const Scratch bytes = f64 ? kernels().f64.scratch(s) : kernels().f32.scratch(s);
            return std::pair<std::size_t, std::size_t>(bytes.forward, bytes.backward);
        },
        "Bytes of scratch memory that a forward and a backward call of this size take, rounded up to 2 MiB where that is more.");
    m.def(
        "forward",
        [](bool f64, int cell, int activation, bool reverse, long T, long B, long I, long H, long P, double clip_step, long threads,
           Address mask, Address reset, long x_step, long x_row, nb::tuple tensors) {
            const Shape s = shape_of(cell, activation, reverse, T, B, I, H, P, clip_step, threads, mask, reset);
            if (f64) forward<double>(s, x_step, x_row, tensors);
            else forward<float>(s, x_step, x_row, tensors);
        },
        "x h0 c0 w_ih w_hh b_ih b_hh w_hr -> y h_end c_end gates cells");
    m.def(
        "backward",
        [](bool f64, int cell, int activation, bool reverse, long T, long B, long I, long H, long P, double clip_step, long threads,
           Address mask, Address reset, long x_step, long x_row, nb::tuple tensors) {
            const Shape s = shape_of(cell, activation, reverse, T, B, I, H, P, clip_step, threads, mask, reset);
            if (f64) backward<double>(s, x_step, x_row, tensors);
            else backward<float>(s, x_step, x_row, tensors);
        },
        "x h0 c0 w_ih w_hh w_hr y gates cells dy dh_end dc_end -> dx dh0 dc0 dw_ih dw_hh db_ih db_hh dw_hr");
    m.def(
        "apply",
        [](bool f64, int function, Address from, Address to, long n) {
            need(n >= 0 && (n == 0 || (from && to)) && (function == 0 || function == 1), "function 0 or 1, and n elements");
            nb::gil_scoped_release released;
            if (f64) kernels().f64.apply(function, at<const double>(from), at<double>(to), n);
            else kernels().f32.apply(function, at<const float>(from), at<float>(to), n);
        },
        "tanh (0) or the logistic function (1) of n elements.");
    m.def(
        "readout",
        [](bool f64, long N, long H, long V, long threads, nb::tuple tensors) {
            need(N >= 1 && H >= 1 && V >= 1 && threads >= 1 && threads <= most_threads, "N, H, V are at least 1, threads from 1 to 256");
            need(double(V) * (double(N) + double(H)) < 1e14 && double(N) * double(H) < 1e14, "too large");
            Address a[7];
            read<float>(tensors, a);
            return f64 ? readout<double>(N, H, V, threads, a) : readout<float>(N, H, V, threads, a);
        },
        "h W b target -> dh dW db; the loss is returned. See readout.h.");
    define_direct(m);
    m.def("idle_bytes", &idle_bytes, "Memory of large tapes that are gone, kept for the next.");
    m.def(
        "loan_bytes",
        [](bool begin) {
            const LoanBytes bytes = loan_bytes(begin);
            return std::pair<std::size_t, std::size_t>(bytes.now, bytes.most);
        },
        nb::arg("begin") = false,
        "Memory of large tapes, in use and kept for the next: now, and the most since it was last asked with `begin`.");
    m.def("release_idle", &release_idle, "Gives that memory back to the system.");
    m.def(
        "scratch_bytes",
        [] {
            const ScratchBytes bytes = scratch_bytes();
            return std::pair<std::size_t, std::size_t>(bytes.now, bytes.most);
        },
        "Scratch memory that the calling threads keep from call to call: now, and the most there ever was.");
    m.def("release_scratch", &release_scratch, "Gives this thread's scratch memory back to the system.");
    m.def("peak", &peak, nb::arg("threads"), nb::arg("seconds") = 0.01,
          "Floating-point operations a second of multiply-adds in registers, now: float32, on so many threads.");
}
