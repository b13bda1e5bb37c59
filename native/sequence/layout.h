// How the buffers of one call lie, and who works on what.
#pragma once

#include "bptt/sequence.h"
#include "micro/pack.h"
#include "rows.h"

namespace bptt::BPTT_ISA {
namespace {

// Hands out pieces of a buffer; with no buffer it only counts.
class Carve {
public:
    explicit Carve(void* base) : base_(static_cast<char*>(base)) {}
    template <class S>
    S* take(long n) {
        const std::size_t at = used_;
        used_ += (std::size_t(n) * sizeof(S) + 127) / 128 * 128;
        return base_ ? reinterpret_cast<S*>(base_ + at) : nullptr;
    }
    std::size_t used() const { return used_; }

private:
    char* base_;
    std::size_t used_ = 0;
};

// The gates of a row: of every panel of units its slots, side by side, so that what is used together lies together; see
// Layout::place. (Their errors, which are a left operand, lie slot by slot, Hp elements each.) The input's products fill slots x_slot..x_slot+G, the state's h_slot..h_slot+G;
// the gru's are [n, r, z, W_hn h + b_hn], so that both are neighbours.
struct Slots {
    int gates, slots, x_slot, h_slot;
    int x_gate[4], h_gate[4];  // gate, in torch's order, of each slot that the input or the state fills
};

BPTT_INLINE Slots slots_of(Cell cell) {
    if (cell == Cell::rnn) return {1, 1, 0, 0, {0}, {0}};
    if (cell == Cell::gru) return {3, 4, 0, 1, {2, 0, 1}, {0, 1, 2}};
    return {4, 4, 0, 0, {0, 1, 2, 3}, {0, 1, 2, 3}};
}

template <class S>
constexpr long line = 64 / sizeof(S);

// Rows whose addresses differ by multiples of half a page compete for the same few places of the first cache.
template <class S>
BPTT_INLINE bool collides(long ld) {
    return ld * long(sizeof(S)) % 2048 == 0;
}

template <class S>
BPTT_INLINE long spread(long n) {
    const long ld = round_up(n, V<S>);
    return collides<S>(ld) ? ld + most(line<S>, V<S>) : ld;
}

// As a left operand: 14 rows of 16 lines each shall fill the first cache evenly, and so shall one line of many rows.
template <class S>
BPTT_INLINE long spread_operand(long n) {
    const long lines = (round_up(n, V<S>) + line<S> - 1) / line<S>;
    if (lines < 32) return (lines | 1) * line<S>;
    return (lines + ((21 - lines) % 64 + 64) % 64) * line<S>;
}

template <class S>
struct Layout {
    Slots slots;
    long H, Y, Hp, panels, ldg, ldc;

    explicit Layout(const Shape& s)
        : slots(slots_of(s.cell)), H(s.H), Y(s.P ? s.P : s.H), Hp(round_up(s.H, V<S>)), panels((s.H + NR<S> - 1) / NR<S>),
          ldg(spread<S>(slots.slots * Hp)), ldc(spread<S>(Hp)) {}

    int vectors(long j) const { return H - j * NR<S> > V<S> ? 2 : 1; }
    long width(long j) const { return vectors(j) * V<S>; }
    long panel(long j) const { return j * NR<S> * slots.slots; }
    // Where unit u of a slot lies in a row of gates.
    long place(long slot, long u) const { return panel(u / NR<S>) + slot * width(u / NR<S>) + u % NR<S>; }
};

// Weights whose columns are gates: panel j of each gate, the gates side by side. Column block (j, g) lies [K][width of j].
template <class S>
struct GatePanels {
    S* data;
    long K;
    const Layout<S>* layout;

    S* at(long j, long g) const { return data + (j * NR<S> * layout->slots.gates + g * layout->width(j)) * K; }
    static long size(const Layout<S>& layout, long K) { return layout.slots.gates * layout.Hp * K; }
    bool far() const { return size(*layout, K) * long(sizeof(S)) > far_bytes; }
};

// Rows of some matrix: neighbours, or wherever a table says.
template <class S>
struct Lines {
    S* base;
    long ld;
    S** table;

    BPTT_INLINE S* operator[](long i) const { return table ? table[i] : base + i * ld; }
};

struct Range {
    long begin, end;
    long size() const { return end - begin; }
};

// Panels in groups of at most `side` neighbours, a narrow last panel alone.
struct Groups {
    Groups(Range panels, bool narrow, long most_side)
        : begin(panels.begin), side(most_side), wide(panels.size() - narrow), count((wide + side - 1) / side + narrow) {}

    // The n-th, from the front or from the back. Steps of few rows take turns: each begins with the weights that the one before has
    // left in the caches. What is computed is the same.
    Range at(long n, bool back) const {
        const long first = least((back ? count - 1 - n : n) * side, wide);
        return {begin + first, begin + (first < wide ? least(first + side, wide) : wide + 1)};
    }
    // Not where tiles fetch the panel that is next in memory.
    static bool turns(long t, long rows, bool far) { return rows <= (far ? MR : 16) && t % 2; }

    const long begin, side, wide, count;
};

BPTT_INLINE Range share(long n, int threads, int thread) { return {n * thread / threads, n * (thread + 1) / threads}; }

struct Partition {
    int threads;
    bool by_rows;  // else by hidden units, with a barrier every step
};

// Below this many multiply-adds for a thread and barrier, another thread costs more than it brings.
constexpr double least_call = 2.0e5, least_step = 2.4e4;
constexpr long near_bytes = 400 << 10;  // packed W_hh up to this size is read by every thread from its own cache

template <class S>
Partition partition(const Shape& s, const Layout<S>& layout, long N, int threads) {
    const double each = double(layout.slots.gates) * double(s.H);
    threads = int(least(threads, most(1, long(double(N) * each * double(s.I + layout.Y) / least_call))));
    if (threads == 1) return {1, true};
    const long bytes = layout.slots.gates * layout.Hp * layout.Y * long(sizeof(S));
    if (s.B >= 4 * threads && bytes <= near_bytes) return {threads, true};
    const double step = double(N) / double(s.T) * each * double(layout.Y);
    const int by_units = int(least(least(threads, layout.panels), most(1, long(step / least_step))));
    if (by_units > 1) return {by_units, false};
    return {int(least(threads, most(1, s.B / 2))), true};
}

// Steps of a chunk, beginning with t and going up or down, until it has about `rows` compact rows. Returns [low, high).
BPTT_INLINE Range chunk(const Rows& rows, long t, bool down, long wanted) {
    Range steps = down ? Range{t, t + 1} : Range{t, t + 1};
    while (true) {
        const Range wider = down ? Range{steps.begin - 1, steps.end} : Range{steps.begin, steps.end + 1};
        if (wider.begin < 0 || wider.end > rows.T || rows.begin(wider.end) - rows.begin(wider.begin) > wanted) return steps;
        steps = wider;
    }
}

// Most compact rows that a chunk can have.
BPTT_INLINE long chunk_limit(const Rows& rows, long wanted) { return most(rows.B, least(wanted, rows.T * rows.B)); }

// Row of x at compact row r.
template <class S>
BPTT_INLINE const S* x_row(const S* x, long x_step, long x_row, const Rows& rows, long r) {
    const long at = rows.at(r), t = at / rows.B;
    return x + t * x_step + (at - t * rows.B) * x_row;
}

template <class S>
BPTT_INLINE void copy(S* to, const S* from, long n) {
    std::memcpy(to, from, std::size_t(n) * sizeof(S));
}

template <class S>
BPTT_INLINE void clear(S* to, long n) {
    std::memset(to, 0, std::size_t(n) * sizeof(S));
}

}  // namespace
}  // namespace bptt::BPTT_ISA
