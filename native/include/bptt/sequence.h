// The contract of the kernels: one recurrent layer, one direction, over a stretch of time.
//
// Letters: T steps, B rows, I inputs, H hidden units, G gates (rnn 1, gru 3, lstm 4), Y = P with a projection, else H.
// The mathematics is that of bptt.kernels.reference. With a_t = W_ih x_t + b_ih and u_t = W_hh h_{t-1} + b_hh:
//   rnn   h = f(a + u)
//   gru   r = σ(a_r + u_r), z = σ(a_z + u_z), n = tanh(a_n + r u_n), h = n + z (h_{t-1} - n)
//   lstm  i, f, o = σ(a + u), g = tanh(a_g + u_g), c = f c_{t-1} + i g, h = o tanh(c), or W_hr (o tanh(c)) with a projection
//
// Of every pointer:
// - It is borrowed for the length of one call and never kept. Nothing here is freed or allocated for the caller.
// - What is read may alias other things read; what is written aliases nothing else.
// - "dense" means row-major without gaps, aligned as its type alone asks.
// - Numbers below the smallest normal one count as zero: errors that fade through time get there, and each operation on them can
//   take a hundred times as long. NaN and infinities travel as in the reference: within their own row.
// - Calls from several threads at once are independent of each other.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bptt {

enum class Cell : std::int32_t { rnn = 0, gru = 1, lstm = 2 };
enum class Activation : std::int32_t { tanh = 0, relu = 1, identity = 2 };

inline constexpr long most_threads = 256;

// What forward and backward share, and must be given alike.
struct Shape {
    Cell cell;
    Activation activation;  // the rnn's f
    bool reverse;           // from the last step to the first
    long T, B, I, H;        // at least 1, but B may be 0; T·B below 2^31
    long P;                 // the lstm's projection, below H; 0: none
    double clip_step;       // limit of each element of the error a step hands back through h and c; infinity: none
    long threads;           // at least 1, at most most_threads; the same number gives the same bits

    // [T,B] dense, or null where all rows take part. Where mask is 0 the row's state is held and its output is zero, and x, dy
    // are not read. Before a step where reset is not 0 the row's state becomes zero, whatever mask says; a reversed layer
    // meets the same border from the other side.
    const std::uint8_t* mask;
    const std::uint8_t* reset;
};

// How many elements of S the tape takes, to be allocated by the caller; see Forward::gates and Forward::cells.
struct TapeSize {
    std::size_t gates;
    std::size_t cells;
};

template <class S>
struct Forward {
    Shape shape;
    const S* x;           // [T,B,I]; features are neighbours, steps lie x_step apart and rows x_row (both may be 0)
    long x_step, x_row;   // in elements
    const S* h0;          // [B,Y] dense
    const S* c0;          // [B,H] dense; lstm only
    const S* w_ih;        // [G·H,I] dense; gates in torch's order: lstm i f g o, gru r z n
    const S* w_hh;        // [G·H,Y] dense
    const S* b_ih;        // [G·H] or null
    const S* b_hh;        // [G·H] or null
    const S* w_hr;        // [P,H] dense; with a projection only
    S* y;                 // out: [T,B,Y] dense; every element is written
    S* h_end;             // out: [B,Y] dense
    S* c_end;             // out: [B,H] dense; lstm only
    S* gates;             // out: the tape, TapeSize::gates elements; null: inference, nothing is kept (the rnn needs none)
    S* cells;             // out: the tape, TapeSize::cells elements; lstm only, null like gates
};

// Backward needs, unchanged since forward: shape (threads may differ), x, h0, c0, the weights, y, gates and cells.
template <class S>
struct Backward {
    Shape shape;
    const S* x;
    long x_step, x_row;
    const S* h0;
    const S* c0;
    const S* w_ih;
    const S* w_hh;
    const S* w_hr;
    const S* y;
    const S* gates;
    const S* cells;
    const S* dy;          // [T,B,Y], or null: zero; units are neighbours, steps lie dy_step apart and rows dy_row (both may be 0)
    long dy_step, dy_row;
    const S* dh_end;      // [B,Y] dense, or null: zero
    const S* dc_end;      // [B,H] dense, or null: zero
    // Each of these is written whole, or null where it is not wanted.
    S* dx;                // out: [T,B,I] dense; zero at masked steps
    S* dh0;               // out: [B,Y] dense
    S* dc0;               // out: [B,H] dense
    S* dw_ih;             // out: as w_ih
    S* dw_hh;             // out: as w_hh
    S* db_ih;             // out: [G·H]
    S* db_hh;             // out: [G·H]
    S* dw_hr;             // out: as w_hr
};

}  // namespace bptt
