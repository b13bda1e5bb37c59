// Where the time of a call goes: sums of the first thread's time by phase. Compiled in only with BPTT_PHASES (bench/).
#pragma once

#ifdef BPTT_PHASES
#include <chrono>
#endif

namespace bptt {

enum class Phase { prepare, input, state, gates, input_errors, weight_pack, weights, count };

#ifdef BPTT_PHASES

inline double phase_seconds[int(Phase::count)];

class PhaseTimer {
public:
    PhaseTimer(Phase phase, int thread) : phase_(thread ? Phase::count : phase), start_(now()) {}
    ~PhaseTimer() {
        if (phase_ != Phase::count) phase_seconds[int(phase_)] += now() - start_;
    }
    PhaseTimer(const PhaseTimer&) = delete;

private:
    static double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
    Phase phase_;
    double start_;
};

#define BPTT_PHASE(phase, thread) const PhaseTimer phase_timer_(Phase::phase, thread)

#else
#define BPTT_PHASE(phase, thread)
#endif

}  // namespace bptt
