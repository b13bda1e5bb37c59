// Large buffers that go from call to call: to tapes and results whose tensors belong to others, and back here when they are dropped.
// Fresh memory of the system's costs a tenth of a large layer's time: every page of it is cleared on its first touch.
//
// Kept are at most `most_idle` buffers of together `most_idle_bytes`, none that lay idle for more than `idle_seconds` when the
// next is lent or given back, and none that a loan of like size would not use. Any thread may borrow and give back, after a fork too.
#pragma once

#include <cstddef>

namespace bptt {

struct Loan {
    void* at;  // aligned to 128 bytes at least
    std::size_t size;
    double idle_since;
};

// Below this the allocator keeps memory itself, and a loan brings nothing.
inline constexpr std::size_t least_loan = std::size_t(4) << 20;
// Results, which users may hold as long as they like, from the size on that glibc's malloc always gives back to the system.
inline constexpr std::size_t least_lent_result = std::size_t(32) << 20;
inline constexpr std::size_t most_idle_bytes = std::size_t(1) << 30;
inline constexpr int most_idle = 16;
inline constexpr std::size_t most_rounding = std::size_t(1) << 21;  // by which `allocate_large` gives more than was asked for
inline constexpr double idle_seconds = 10;

// Throws std::bad_alloc. What it holds is arbitrary.
Loan* lend(std::size_t bytes);
void give_back(Loan* loan) noexcept;

// Frees what lies idle.
void release_idle() noexcept;
std::size_t idle_bytes() noexcept;

// All of it, lent and idle: now, and the most since a caller last said `begin`.
struct LoanBytes {
    std::size_t now, most;
};
LoanBytes loan_bytes(bool begin) noexcept;

}  // namespace bptt
