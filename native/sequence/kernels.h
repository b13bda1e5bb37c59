// What each instruction set offers, and the choice among them.
#pragma once

#include "bptt/readout.h"
#include "bptt/sequence.h"

namespace bptt {

// Bytes of scratch memory that a call takes, before they are rounded up; see team.h.
struct Scratch {
    std::size_t forward, backward;
};

template <class S>
struct Entries {
    TapeSize (*tape)(const Shape&);
    Scratch (*scratch)(const Shape&);  // with a tape and all gradients; without flags, which take 9 bytes a row more
    void (*forward)(const Forward<S>&);
    void (*backward)(const Backward<S>&);
    void (*readout)(const Readout<S>&);
    void (*apply)(int function, const S* from, S* to, long n);  // 0 tanh, 1 logistic: for tests of their accuracy
};

struct Kernels {
    const char* name;
    Entries<float> f32;
    Entries<double> f64;
    // Does so many rounds of multiply-adds in registers, of so many floating-point operations each: to be timed.
    void (*multiply_add)(long rounds);
    double operations;
};

// The best this CPU runs, up to the one that the environment variable BPTT_ISA names. Throws std::runtime_error for a name
// it does not know.
const Kernels& kernels();

}  // namespace bptt
