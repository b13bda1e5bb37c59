#include "team.h"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

#ifdef BPTT_TEAM_STD
#include <thread>
#include <vector>
#elif defined(_OPENMP)
#include <omp.h>
#endif
#ifdef _WIN32
#include <malloc.h>
#include <process.h>
#else
#include <sched.h>
#include <unistd.h>
#endif
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace bptt {
namespace {

int process() {
#ifdef _WIN32
    return _getpid();
#else
    return static_cast<int>(getpid());
#endif
}

const int first_process = process();

void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

constexpr std::size_t huge_page = std::size_t(1) << 21;

std::atomic<std::size_t> held{0}, most_held{0};

void hold(std::size_t bytes) noexcept {
    const std::size_t all = held.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    std::size_t most = most_held.load(std::memory_order_relaxed);
    while (most < all && !most_held.compare_exchange_weak(most, all, std::memory_order_relaxed)) {
    }
}

// Memory that one thread keeps for its calls.
struct Memory {
    // More than this is given back when the next call needs less.
    static constexpr std::size_t kept = std::size_t(1) << 28;
    void* at = nullptr;
    std::size_t size = 0;

    void release() noexcept {
        free_large(at);
        held.fetch_sub(size, std::memory_order_relaxed);
        at = nullptr;
        size = 0;
    }
    void* get(std::size_t bytes) {
        if (bytes <= size && (size <= kept || bytes > kept)) return at;
        release();
        at = allocate_large(bytes, &size);
        hold(size);
        return at;
    }
    ~Memory() { release(); }
};

Memory& memory(Use use) {
    static thread_local Memory kept[2];
    return kept[use == Use::work];
}

}  // namespace

void Barrier::wait_for_others() {
    const int round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads_ - 1) {
        arrived_.store(0, std::memory_order_relaxed);
        round_.store(round + 1, std::memory_order_release);
        return;
    }
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; spins++) {
        if (spins < 300) {  // some 10 µs where a pause takes long
            pause();
        } else {
#ifndef _WIN32
            sched_yield();
#endif
        }
    }
}

namespace {

#if defined(__x86_64__)
constexpr unsigned flush_bits = 1U << 15 | 1U << 6;  // results, and operands
unsigned long long float_mode() { return __builtin_ia32_stmxcsr(); }
void set_float_mode(unsigned long long mode) { __builtin_ia32_ldmxcsr(static_cast<unsigned>(mode)); }
#elif defined(__aarch64__)
constexpr unsigned flush_bits = 1U << 24;
unsigned long long float_mode() {
    unsigned long long mode = 0;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
void set_float_mode(unsigned long long mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
#else
constexpr unsigned flush_bits = 0;
unsigned long long float_mode() { return 0; }
void set_float_mode(unsigned long long) {}
#endif

}  // namespace

FlushDenormals::FlushDenormals() : before_(float_mode()) { set_float_mode(before_ | flush_bits); }

FlushDenormals::~FlushDenormals() { set_float_mode(before_); }

int team_size(long wanted) {
#if defined(_OPENMP) || defined(BPTT_TEAM_STD)
    return process() == first_process && wanted > 1 ? static_cast<int>(wanted) : 1;
#else
    (void)wanted;
    return 1;
#endif
}

bool run_team(int threads, void (*part)(void*, int, Barrier&), void* context) {
    Barrier barrier(threads);
    if (threads == 1) {
        part(context, 0, barrier);
        return true;
    }
#if defined(BPTT_TEAM_STD)
    std::vector<std::thread> others;
    for (int thread = 1; thread < threads; thread++) others.emplace_back([&, thread] { part(context, thread, barrier); });
    part(context, 0, barrier);
    for (std::thread& other : others) other.join();
    return true;
#elif defined(_OPENMP)
    bool whole = true;
#pragma omp parallel num_threads(threads)
    {
        if (omp_get_num_threads() == threads) part(context, omp_get_thread_num(), barrier);
        else {
#pragma omp atomic write
            whole = false;
        }
    }
    return whole;
#else
    return false;
#endif
}

void* allocate_large(std::size_t bytes, std::size_t* size) {
    const bool large = bytes >= huge_page;
    const std::size_t unit = large ? huge_page : 4096;
    const std::size_t rounded = (bytes + unit - 1) / unit * unit;
    if (rounded < bytes) throw std::bad_alloc();
#ifdef _WIN32
    void* at = _aligned_malloc(rounded, 4096);
#else
    void* at = std::aligned_alloc(unit, rounded);
#endif
    if (!at) throw std::bad_alloc();
#ifdef __linux__
    if (large) madvise(at, rounded, MADV_HUGEPAGE);
#endif
    *size = rounded;
    return at;
}

void free_large(void* at) noexcept {
#ifdef _WIN32
    _aligned_free(at);
#else
    std::free(at);
#endif
}

void expect_to_fill([[maybe_unused]] void* at, [[maybe_unused]] std::size_t bytes) {
#ifdef __linux__
    const std::size_t skip = (huge_page - reinterpret_cast<std::uintptr_t>(at) % huge_page) % huge_page;
    // A hint: where it is refused, pages are small.
    if (at && bytes >= skip + huge_page) madvise(static_cast<char*>(at) + skip, (bytes - skip) / huge_page * huge_page, MADV_HUGEPAGE);
#endif
}

void* scratch(Use use, std::size_t bytes) { return memory(use).get(bytes ? bytes : 1); }

ScratchBytes scratch_bytes() noexcept { return {held.load(std::memory_order_relaxed), most_held.load(std::memory_order_relaxed)}; }

void release_scratch() noexcept {
    memory(Use::rows).release();
    memory(Use::work).release();
}

}  // namespace bptt
