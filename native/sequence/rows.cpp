#include "rows.h"

namespace bptt {

std::size_t Rows::memory(const Shape& s) {
    if (!s.mask && !s.reset) return 0;
    const std::size_t all = std::size_t(s.T) * std::size_t(s.B);
    return (std::size_t(s.T) + 1 + 2 * all + std::size_t(s.B)) * sizeof(int) + std::size_t(s.T);
}

Rows Rows::number(const Shape& s, void* memory) {
    Rows rows{s.T, s.B, s.T * s.B, s.reverse, !s.mask && !s.reset};
    if (rows.dense) return rows;
    const long T = s.T, B = s.B;
    auto* first = static_cast<int*>(memory);
    int* place = first + T + 1;
    int* prev = place + T * B;
    int* last = prev + T * B;
    auto* kind = reinterpret_cast<unsigned char*>(last + B);
    int n = 0;
    for (long t = 0; t < T; t++) {
        first[t] = n;
        for (long b = 0; b < B; b++)
            if (!s.mask || s.mask[t * B + b]) place[n++] = int(t * B + b);
    }
    first[T] = n;
    for (long b = 0; b < B; b++) last[b] = initial;
    for (long i = 0; i < T; i++) {
        const long t = s.reverse ? T - 1 - i : i, border = s.reverse ? t + 1 : t;
        if (s.reset && border < T)
            for (long b = 0; b < B; b++)
                if (s.reset[border * B + b]) last[b] = fresh;
        const bool whole = first[t + 1] - first[t] == B && B > 0;
        const long before = rows.step_before(t);
        bool adjacent = whole && before >= 0 && before < T, start = whole;
        for (int r = first[t]; r < first[t + 1]; r++) {
            const int b = place[r] - int(t * B);
            prev[r] = last[b];
            if (adjacent) adjacent = last[b] == first[before] + b && first[before + 1] - first[before] == B;
            if (start) start = last[b] == initial;
            last[b] = r;
        }
        kind[t] = start ? initials : adjacent ? neighbours : scattered;
    }
    rows.N = n;
    rows.first = first;
    rows.place = place;
    rows.prev = prev;
    rows.last = last;
    rows.kind = kind;
    return rows;
}

long Rows::find(long t, long b) const {
    if (dense) return t * B + b;
    long low = first[t], high = first[t + 1];
    while (low < high) {
        const long middle = (low + high) / 2;
        if (place[middle] < t * B + b) low = middle + 1;
        else high = middle;
    }
    return low;
}

}  // namespace bptt
