// The readout's passes over one piece of the rows. Scores lie as panels of NR rows of h: [panel][symbol][row], so that the
// softmax goes along memory without sums across a vector, and so that the same panels serve as right operand of dh and as left
// operand of dW. Threads share the symbols; dh alone is a sum over threads.
#pragma once

#include "bptt/readout.h"
#include "micro/activation.h"
#include "micro/pack.h"
#include "sequence/layout.h"
#include "sequence/team.h"

namespace bptt::BPTT_ISA {
namespace {

// Scores held at a time, and symbols worked on while they are near.
constexpr long held_scores = 1L << 22, near_symbols = (256 + MR - 1) / MR * MR;

template <class S>
BPTT_INLINE Vec<S> exponential(Vec<S> x) {
    using F = Float<S>;
    const Vec<S> y = at_least<S>(x, F::least_exp), moved = y * S(1.44269504088896340736) + F::magic, n = moved - F::magic;
    const Vec<S> r = (y - n * F::ln2_high) - n * F::ln2_low, r2 = r * r;
    return scaled<S>(polynomial<S, Exponential<S>::degree>(Exponential<S>::q, r, r2, r2 * r2) * r2 + r + S(1), n, (Whole<S>)moved);
}

template <class S>
BPTT_INLINE Vec<S> greater(Vec<S> a, Vec<S> b) {
    return a > b ? a : b;
}

template <class S>
class ReadoutPass {
public:
    std::size_t bytes;

    ReadoutPass(const Readout<S>& readout, int team, void* memory) : f(readout), threads(team) {
        Carve carve(memory);
        const long panels = (f.N + NR<S> - 1) / NR<S>, most_panels = most(1, held_scores / (f.V * NR<S>));
        pieces = (panels + most_panels - 1) / most_panels;
        const long rows = (panels + pieces - 1) / pieces * NR<S>;
        wide = round_up(f.H, V<S>);
        scores = carve.take<S>(rows * f.V);
        columns = carve.take<S>(rows * f.H);
        lines = carve.take<S>(f.dW ? rows * wide : 0);
        largest = carve.take<S>(threads * rows);
        sums = carve.take<S>(threads * rows);
        shift = carve.take<S>(threads * rows);
        share_of = carve.take<S>(threads * rows);
        partial = carve.take<S>(f.dh ? threads * rows * f.H : 0);
        left = carve.take<S>(f.dh ? threads * left_size() : 0);
        made = carve.take<S>(threads * MR * wide);
        losses = carve.take<double>(threads * 16);
        stride = rows;
        bytes = carve.used();
    }

    void part(int thread, Barrier& barrier) {
        const long panels = (f.N + NR<S> - 1) / NR<S>;
        const Range own = share(f.V, threads, thread);
        double loss = 0;
        for (long piece = 0; piece < pieces; piece++) {
            const long first = least(f.N, panels * piece / pieces * NR<S>), end = least(f.N, panels * (piece + 1) / pieces * NR<S>);
            begin(first, end - first);
            if (piece) barrier.wait();
            pack(thread);
            barrier.wait();
            score(own, thread);
            barrier.wait();
            loss += normalise(thread);
            loss -= errors(own, piece == 0, thread);
            if (f.dh) {
                barrier.wait();
                deliver(share(n, threads, thread));
            }
        }
        losses[thread * 16] = loss;
        barrier.wait();
        if (thread) return;
        *f.loss = 0;
        for (int t = 0; t < threads; t++) *f.loss += losses[t * 16];
    }

private:
    long left_size() const { return round_up(near_symbols * f.H + V<S>, 32); }
    void begin(long from, long rows) {
        first_row = from;
        n = rows;
        count = (n + NR<S> - 1) / NR<S>;
    }
    long width(long p) const { return least(NR<S>, round_up(n - p * NR<S>, V<S>)); }
    S* panel(long p) const { return scores + p * f.V * NR<S>; }

    // h of the piece as right operands: transposed for the scores, as it lies for dW.
    void pack(int thread) {
        const S* h = f.h + first_row * f.H;
        const Range across = share(count, threads, thread);
        for (long p = across.begin; p < across.end; p++) pack_transposed(h, n, f.H, p, columns + p * f.H * NR<S>);
        if (!f.dW) return;
        const long padded = round_up(n, V<S>);
        const Range along = share((f.H + NR<S> - 1) / NR<S>, threads, thread);
        for (long q = along.begin; q < along.end; q++) pack_rows(h, f.H, n, padded, q, lines + q * stride * NR<S>);
    }

    // Scores without b, and of every row the largest with b and the sum of the exponentials, of the own symbols.
    void score(Range own, int thread) {
        S* const high = largest + thread * stride;
        S* const sum = sums + thread * stride;
        for (long r = 0; r < count * NR<S>; r += V<S>) {
            store(high + r, splat(least_score()));
            store(sum + r, Vec<S>{});
        }
        for (long v0 = own.begin; v0 < own.end; v0 += near_symbols) {
            const long v1 = least(v0 + near_symbols, own.end), blocks = (v1 - v0 + MR - 1) / MR;
            for (long block = 0; block < blocks; block++) {
                const long u0 = v0 + (v1 - v0) * block / blocks, u1 = v0 + (v1 - v0) * (block + 1) / blocks;
                for (long p = 0; p < count; p++) {
                    const Term<S> term{f.W + u0 * f.H, f.H, columns + p * f.H * NR<S>, 0, f.H};
                    S* const C = panel(p) + u0 * width(p);
                    if (width(p) == NR<S>) tile_of<S, 1, 2, false>(u1 - u0, &term, 1, nullptr, 0, C, NR<S>, 0);
                    else tile_of<S, 1, 1, false>(u1 - u0, &term, 1, nullptr, 0, C, V<S>, 0);
                }
            }
            for (long p = 0; p < count; p++)
                for (long j = 0; j < width(p); j += V<S>) {
                    const long w = width(p), at = p * NR<S> + j;
                    const S* const from = panel(p) + j;
                    Vec<S> top[4], total[4] = {};
                    const Vec<S> before = load(high + at);
                    for (Vec<S>& t : top) t = before;
                    for (long v = v0; v < v1; v++) top[v & 3] = greater<S>(load(from + v * w) + bias(v), top[v & 3]);
                    const Vec<S> now = greater<S>(greater<S>(top[0], top[1]), greater<S>(top[2], top[3]));
                    for (long v = v0; v < v1; v++) total[v & 3] += exponential<S>(load(from + v * w) + bias(v) - now);
                    store(high + at, now);
                    store(sum + at, load(sum + at) * exponential<S>(before - now) + ((total[0] + total[1]) + (total[2] + total[3])));
                }
        }
    }

    // The threads' findings as one, for the thread's own use. The first gives the loss, but for the targets' scores.
    double normalise(int thread) {
        S* const top = shift + thread * stride;
        S* const part = share_of + thread * stride;
        double loss = 0;
        for (long r = 0; r < count * NR<S>; r += V<S>) {
            Vec<S> high = load(largest + r), sum = {};
            for (int t = 1; t < threads; t++) high = greater<S>(load(largest + t * stride + r), high);
            for (int t = 0; t < threads; t++)
                sum += load(sums + t * stride + r) * exponential<S>(load(largest + t * stride + r) - high);
            store(top + r, high);
            store(part + r, S(1) / sum);
            for (long i = 0; i < V<S> && r + i < n && !thread; i++) loss += double(high[i]) + __builtin_log(double(sum[i]));
        }
        for (long r = n; r < count * NR<S>; r++) part[r] = 0;
        return loss;
    }

    // Scores become their errors, and the errors gradients, of the own symbols. The sum of the own targets' scores.
    double errors(Range own, bool fresh, int thread) {
        const S* const top = shift + thread * stride;
        const S* const part = share_of + thread * stride;
        S* const packed = left + thread * left_size();
        double found = 0;
        for (long v0 = own.begin; v0 < own.end; v0 += near_symbols) {
            const long v1 = least(v0 + near_symbols, own.end);
            for (long r = 0; r < n; r++)
                if (const long v = long(f.target[first_row + r]); v >= v0 && v < v1) found += double(at(v, r)) + (f.b ? double(f.b[v]) : 0.0);
            if (!f.dh && !f.dW && !f.db) continue;
            for (long v = v0; v < v1; v++) {
                Vec<S> sum = {};
                for (long p = 0; p < count; p++)
                    for (long j = 0; j < width(p); j += V<S>) {
                        S* const to = panel(p) + v * width(p) + j;
                        const Vec<S> share = exponential<S>(load(to) + bias(v) - load(top + p * NR<S> + j)) * load(part + p * NR<S> + j);
                        store(to, share);
                        sum += share;
                    }
                if (!f.db) continue;
                S whole = fresh ? S(0) : f.db[v];
                for (long i = 0; i < V<S>; i++) whole += sum[i];
                f.db[v] = whole;
            }
            for (long r = 0; r < n; r++)
                if (const long v = long(f.target[first_row + r]); v >= v0 && v < v1) {
                    at(v, r) -= 1;
                    if (f.db) f.db[v] -= 1;
                }
            if (f.dh) to_rows({v0, v1}, v0 == own.begin, packed, partial + thread * stride * f.H);
            if (f.dW) to_symbols({v0, v1}, fresh, made + thread * MR * wide);
        }
        if (f.dh && own.begin == own.end) clear(partial + thread * stride * f.H, stride * f.H);
        return found;
    }

    // dhᵀ += Wᵀ · errors.
    void to_rows(Range symbols, bool fresh, S* packed, S* to) {
        const long blocks = (f.H + MR - 1) / MR, K = symbols.size();
        const auto edge = [&](long block) { return f.H * block / blocks; };
        S* at = packed;
        for (long block = 0; block < blocks; block++) {
            const long R = edge(block + 1) - edge(block);
            for (long k = 0; k < K; k++) copy(at + k * R, f.W + (symbols.begin + k) * f.H + edge(block), R);
            at += K * R;
        }
        for (long p = 0; p < count; p++) {
            const S* from = packed;
            for (long block = 0; block < blocks; block++) {
                const long u = edge(block), R = edge(block + 1) - u, w = width(p);
                const Term<S> term{from, R, panel(p) + symbols.begin * w, 0, K};
                S* const C = to + p * f.H * NR<S> + u * w;
                if (w == NR<S>) tile_of<S, 1, 2, true>(R, &term, 1, fresh ? nullptr : C, w, C, w, 0);
                else tile_of<S, 1, 1, true>(R, &term, 1, fresh ? nullptr : C, w, C, w, 0);
                from += R * K;
            }
        }
    }

    // dW (+)= errors · h, of these symbols.
    void to_symbols(Range symbols, bool fresh, S* rows) {
        Term<S> term[most_panels_at_once];
        const long blocks = (symbols.size() + MR - 1) / MR;
        for (long block = 0; block < blocks; block++) {
            const long u0 = symbols.begin + symbols.size() * block / blocks, u1 = symbols.begin + symbols.size() * (block + 1) / blocks;
            for (long q = 0; q * NR<S> < f.H; q++) {
                const long w = least(NR<S>, wide - q * NR<S>);
                S* const C = rows + q * NR<S>;
                for (long p0 = 0; p0 < count; p0 += most_panels_at_once) {
                    const long p1 = least(count, p0 + most_panels_at_once);
                    for (long p = p0; p < p1; p++)
                        term[p - p0] = {panel(p) + u0 * width(p), width(p), lines + q * stride * NR<S> + p * NR<S> * w, 0, width(p)};
                    const S* const init = p0 ? C : nullptr;
                    if (w == NR<S>) tile_of<S, 1, 2, false>(u1 - u0, term, int(p1 - p0), init, wide, C, wide, 0);
                    else tile_of<S, 1, 1, false>(u1 - u0, term, int(p1 - p0), init, wide, C, wide, 0);
                }
            }
            for (long u = u0; u < u1; u++)
                for (long i = 0; i < f.H; i += V<S>) {
                    S* const to = f.dW + u * f.H + i;
                    const Vec<S> found = load(rows + (u - u0) * wide + i);
                    store_first(to, fresh ? found : load_first(to, f.H - i) + found, f.H - i);
                }
        }
    }

    // dh of rows of the piece, from the threads' parts.
    void deliver(Range rows) {
        for (long r = rows.begin; r < rows.end; r++) {
            const long p = r / NR<S>, w = width(p);
            S* const to = f.dh + (first_row + r) * f.H;
            for (long u = 0; u < f.H; u++) {
                S sum = 0;
                for (int t = 0; t < threads; t++) sum += partial[t * stride * f.H + p * f.H * NR<S> + u * w + r % NR<S>];
                to[u] = sum;
            }
        }
    }

    static S least_score() { return sizeof(S) == 4 ? S(-__FLT_MAX__) : S(-__DBL_MAX__); }
    S bias(long v) const { return f.b ? f.b[v] : S(0); }
    S& at(long v, long r) const { return panel(r / NR<S>)[v * width(r / NR<S>) + r % NR<S>]; }

    static constexpr long most_panels_at_once = 32;
    const Readout<S>& f;
    int threads;
    long pieces, wide, stride, first_row = 0, n = 0, count = 0;
    S *scores, *columns, *lines, *largest, *sums, *shift, *share_of, *partial, *left, *made;
    double* losses;
};

}  // namespace
}  // namespace bptt::BPTT_ISA
