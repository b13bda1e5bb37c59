// Threads and memory of one call. The threads are OpenMP's, shared with torch: a pool of our own would lose its cores to torch's
// workers, which go on spinning after each of torch's operations.
#pragma once

#include <atomic>
#include <cstddef>

namespace bptt {

// All threads of a team wait for each other. Short waits spin; long ones give the core away.
class Barrier {
public:
    explicit Barrier(int threads) : threads_(threads) {}
    void wait() {
        if (threads_ > 1) wait_for_others();
    }

private:
    void wait_for_others();
    const int threads_;
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<int> round_{0};
};

// As long as it lives, this thread takes numbers below the smallest normal one for zero.
class FlushDenormals {
public:
    FlushDenormals();
    ~FlushDenormals();
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;

private:
    unsigned long long before_;
};

// Threads a call may take: `wanted`, but one in a forked child, where OpenMP would wait for threads that do not exist.
int team_size(long wanted);

// Calls part(context, thread, barrier) on `threads` threads. False, and nothing called, where so many cannot be had.
bool run_team(int threads, void (*part)(void*, int, Barrier&), void* context);

// Memory of the calling thread, aligned to 128 bytes, valid until its next call with that use. Throws std::bad_alloc.
enum class Use { rows, work };
void* scratch(Use use, std::size_t bytes);

// Such memory of all threads together: now, and the most there ever was.
struct ScratchBytes {
    std::size_t now, most;
};
ScratchBytes scratch_bytes() noexcept;
// Gives back that of the calling thread.
void release_scratch() noexcept;

// Aligned to 128 bytes and more, in huge pages where it is large and the system has them; its true size. Throws std::bad_alloc.
void* allocate_large(std::size_t bytes, std::size_t* size);
void free_large(void* at) noexcept;

// The caller's memory, which is about to be written: where it is fresh and large, in huge pages, for the system's work on small
// ones takes as long as some products.
void expect_to_fill(void* at, std::size_t bytes);

}  // namespace bptt
