// Which rows take part when. The active (t, b) are numbered in order of t, then b: the "compact rows", on which the tape lies,
// so that finished rows cost nothing. Without flags compact row r is (r / B, r % B), and no table is made.
#pragma once

#include <cstddef>

#include "bptt/sequence.h"

namespace bptt {

struct Rows {
    enum : int { initial = -1, fresh = -2 };  // values of prev: from the initial state; zero, because of a reset
    enum Kind : unsigned char { scattered = 0, neighbours = 1, initials = 2 };

    long T, B, N;  // N: compact rows in all
    bool reverse;
    bool dense;
    const int* first = nullptr;           // [T+1] compact row of the first active row of step t
    const int* place = nullptr;           // [N] t·B + b of a compact row
    const int* prev = nullptr;            // [N] compact row of the same b at its step before, or initial, or fresh
    const int* last = nullptr;            // [B] likewise, seen from the end
    const unsigned char* kind = nullptr;  // [T]

    // Bytes of memory that number() needs; 0 where no table is made.
    static std::size_t memory(const Shape& shape);
    static Rows number(const Shape& shape, void* memory);

    long begin(long t) const { return dense ? t * B : first[t]; }
    long at(long r) const { return dense ? r : place[r]; }  // t·B + b
    long step_before(long t) const { return reverse ? t + 1 : t - 1; }
    // neighbours: all rows are active at t and at the step before, none reset in between; initials: all are active, and all
    // come from the initial state. In both cases the rows before lie side by side. Else scattered.
    Kind kind_of(long t) const {
        if (dense) return t == (reverse ? T - 1 : 0) ? initials : neighbours;
        return Kind(kind[t]);
    }
    long before(long r, long t) const {
        if (!dense) return prev[r];
        return kind_of(t) == initials ? long(initial) : reverse ? r + B : r - B;
    }
    long end_of(long b) const { return dense ? (reverse ? b : N - B + b) : last[b]; }
    // First compact row of step t whose b is at least that.
    long find(long t, long b) const;
};

}  // namespace bptt
