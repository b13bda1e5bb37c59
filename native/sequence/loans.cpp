#include "loans.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <new>

#include "team.h"

namespace bptt {
namespace {

// No lock: a fork may happen while another thread holds it. A buffer is taken out of its place by an exchange, looked at, and put
// into the next free place.
std::atomic<Loan*> places[most_idle];
std::atomic<std::size_t> idle{0}, all{0}, most{0};

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

void count(std::size_t bytes) noexcept {
    const std::size_t made = all.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    std::size_t before = most.load(std::memory_order_relaxed);
    while (before < made && !most.compare_exchange_weak(before, made, std::memory_order_relaxed)) {
    }
}

void drop(Loan* loan) noexcept {
    free_large(loan->at);
    all.fetch_sub(loan->size, std::memory_order_relaxed);
    delete loan;
}

Loan* take(std::atomic<Loan*>& place) {
    Loan* loan = place.exchange(nullptr, std::memory_order_acq_rel);
    if (loan) idle.fetch_sub(loan->size, std::memory_order_relaxed);
    return loan;
}

void put(Loan* loan) noexcept {
    if (idle.fetch_add(loan->size, std::memory_order_relaxed) + loan->size <= most_idle_bytes)
        for (std::atomic<Loan*>& place : places) {
            Loan* nothing = nullptr;
            if (place.compare_exchange_strong(nothing, loan, std::memory_order_acq_rel)) return;
        }
    idle.fetch_sub(loan->size, std::memory_order_relaxed);
    drop(loan);
}

void drop_old(double time) noexcept {
    for (std::atomic<Loan*>& place : places)
        if (Loan* loan = take(place)) {
            if (time - loan->idle_since > idle_seconds) drop(loan);
            else put(loan);
        }
}

// What was rounded up to whole pages suits those it was made for, whatever part of it they leave free.
bool suits(const Loan& loan, std::size_t bytes) {
    return loan.size >= bytes && (loan.size - bytes <= bytes / 4 || loan.size - bytes < most_rounding);
}

}  // namespace

Loan* lend(std::size_t bytes) {
    drop_old(now());
    for (std::atomic<Loan*>& place : places)
        if (Loan* loan = take(place)) {
            if (suits(*loan, bytes)) return loan;
            put(loan);
        }
    auto loan = std::make_unique<Loan>();
    try {
        loan->at = allocate_large(bytes, &loan->size);
    } catch (const std::bad_alloc&) {
        release_idle();
        loan->at = allocate_large(bytes, &loan->size);
    }
    count(loan->size);
    return loan.release();
}

void give_back(Loan* loan) noexcept {
    const double time = now();
    drop_old(time);
    loan->idle_since = time;
    put(loan);
}

void release_idle() noexcept {
    for (std::atomic<Loan*>& place : places)
        if (Loan* loan = take(place)) drop(loan);
}

std::size_t idle_bytes() noexcept { return idle.load(std::memory_order_relaxed); }

LoanBytes loan_bytes(bool begin) noexcept {
    const std::size_t now = all.load(std::memory_order_relaxed);
    if (begin) most.store(now, std::memory_order_relaxed);
    return {now, most.load(std::memory_order_relaxed)};
}

}  // namespace bptt
