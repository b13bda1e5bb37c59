#!/bin/sh
# What this machine can check of the kernels: warnings as errors, the self-check on every instruction set, sanitizers, valgrind,
# aarch64 under emulation, clang-tidy. What is not installed is said and passed over. Builds lie in $BUILD (default build/check).
#
#     native/check.sh [plain] [asan] [tsan] [valgrind] [aarch64] [tidy]        all of them by default
set -eu
cd "$(dirname "$0")"
BUILD=${BUILD:-build/check}
JOBS=${JOBS:-2}
LAYERS=${LAYERS:-300}

make_selfcheck() {  # folder, cmake's options
    folder=$BUILD/$1
    shift
    cmake -S . -B "$folder" -DBPTT_PYTHON=OFF -DBPTT_TESTS=ON -DBPTT_WERROR=ON "$@" > /dev/null
    cmake --build "$folder" --parallel "$JOBS" > "$folder/log" || { cat "$folder/log"; exit 1; }
}

has() {
    command -v "$1" > /dev/null || { echo "   passed over: no $1 here"; return 1; }
}

check_plain() {
    make_selfcheck plain
    for isa in baseline avx2 avx512 neon; do
        BPTT_ISA=$isa "$BUILD/plain/bptt_selfcheck" "$LAYERS" 1 3 2> /dev/null || [ $? -eq 2 ]
    done
}

check_asan() {
    make_selfcheck asan -DCMAKE_BUILD_TYPE=Debug -DBPTT_SANITIZE=address,undefined -DBPTT_WERROR=OFF
    for isa in baseline avx2 avx512; do BPTT_ISA=$isa "$BUILD/asan/bptt_selfcheck" "$LAYERS"; done
}

# TSan does not see libgomp's synchronisation and would report its own: here a team is of std::thread, the barriers are ours.
check_tsan() {
    make_selfcheck tsan -DCMAKE_BUILD_TYPE=Debug -DBPTT_SANITIZE=thread -DBPTT_TEAM=std -DBPTT_WERROR=OFF
    "$BUILD/tsan/bptt_selfcheck" "$LAYERS" 1 4
}

# valgrind knows no AVX-512: it shows the program a CPU without. OpenMP's own memory is not ours to judge.
check_valgrind() {
    has valgrind || return 0
    make_selfcheck valgrind -DBPTT_TEAM=std
    valgrind --quiet --error-exitcode=9 "$BUILD/valgrind/bptt_selfcheck" 40 1 2
}

check_aarch64() {
    has aarch64-linux-gnu-g++ && has qemu-aarch64 || return 0
    make_selfcheck aarch64 -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
        -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_EXE_LINKER_FLAGS=-static -DBPTT_TEAM=std
    qemu-aarch64 "$BUILD/aarch64/bptt_selfcheck" 100 1 3
}

check_tidy() {
    has clang-tidy || return 0
    for file in isa/baseline.cpp isa/choose.cpp sequence/loans.cpp sequence/rows.cpp sequence/team.cpp tests/selfcheck.cpp bench/phases.cpp; do
        clang-tidy --quiet "$file" -- -std=c++20 -Iinclude -I. -DBPTT_PHASES -Wno-psabi 2> /dev/null
    done
}

for name in ${*:-plain asan tsan valgrind aarch64 tidy}; do
    echo "== $name"
    "check_$name"
done
