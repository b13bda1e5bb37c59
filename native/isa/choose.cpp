#include <cstdlib>
#include <stdexcept>
#include <string>

#include "sequence/kernels.h"

namespace bptt {

#if defined(__x86_64__) || defined(_M_X64)
namespace avx512 { extern const Kernels table; }
namespace avx2 { extern const Kernels table; }
namespace baseline { extern const Kernels table; }
#elif defined(__aarch64__)
namespace neon { extern const Kernels table; }
#else
namespace baseline { extern const Kernels table; }
#endif

namespace {

struct Choice {
    const Kernels* kernels;
    bool runs;
};

const Kernels& choose() {
#if defined(__x86_64__) || defined(_M_X64)
    __builtin_cpu_init();
    const bool v2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool v4 = v2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    const Choice choices[] = {{&avx512::table, v4}, {&avx2::table, v2}, {&baseline::table, true}};
#elif defined(__aarch64__)
    const Choice choices[] = {{&neon::table, true}};
#else
    const Choice choices[] = {{&baseline::table, true}};
#endif
    const char* cap = std::getenv("BPTT_ISA");
    const std::string wanted = cap ? cap : "";
    bool allowed = wanted.empty();
    std::string known;
    for (const Choice& choice : choices) {
        allowed = allowed || wanted == choice.kernels->name;
        if (allowed && choice.runs) return *choice.kernels;
        known += (known.empty() ? "" : ", ") + std::string(choice.kernels->name);
    }
    throw std::runtime_error("BPTT_ISA=" + wanted + " is unknown here: one of " + known);
}

}  // namespace

const Kernels& kernels() {
    static const Kernels& chosen = choose();
    return chosen;
}

}  // namespace bptt
