// The weights' gradients: dW += Dᵀ X over the compact rows of a chunk. Threads share the rows of dW, and no sum depends on how many
// there are; or, where they go apart, each has a dW of its own, over its own rows, and in the end they are added in their order.
#pragma once

#include "layout.h"
#include "micro/activation.h"
#include "phases.h"
#include "team.h"

namespace bptt::BPTT_ISA {
namespace {

// The compact rows of a chunk: neighbours, or as a table says.
struct Which {
    long first;
    const int* table;

    BPTT_INLINE long operator[](long k) const { return table ? table[k] : first + k; }
};

template <class S>
class WeightGradients {
public:
    void place(const Backward<S>& backward, const Layout<S>& l, const Rows& compact, int team, bool each_alone, long limit, Carve& carve) {
        f = &backward;
        layout = &l;
        rows = &compact;
        threads = team;
        apart = each_alone;
        depth = least(limit, inner_block);
        const Shape& s = f->shape;
        const long gate_rows = l.slots.gates * s.H;
        input = target(f->dw_ih, gate_rows, s.I, carve);
        state = target(f->dw_hh, gate_rows, l.Y, carve);
        projection = target(f->dw_hr, s.P, s.H, carve);
        packs_left = most(input.ld + state.ld, projection.ld) > packing_pays;
        sums = carve.take<S>(f->db_ih || f->db_hh ? teams() * l.slots.slots * l.Hp : 0);
        left = carve.take<S>(threads * left_size());
    }

    // Before the first add.
    void begin(int thread) {
        left += thread * left_size();
        own_sums = sums;
        if (!apart) return;
        for (Target* t : {&input, &state, &projection}) {
            if (thread) t->made = t->others + (thread - 1) * t->size();
            t->right += thread * depth * t->ld;
        }
        own_sums += thread * sums_size();
    }

    // So many of these rows, whose errors lie in D (and, of a projection's output, in dP).
    void add(Which which, long count, const S* D, long ldd, const S* dP, long ldp, int thread, Barrier& barrier) {
        for (long k0 = 0; k0 < count; k0 += depth) {
            const long K = least(depth, count - k0);
            if (k0 && !apart) barrier.wait();
            {
                BPTT_PHASE(weight_pack, thread);
                pack(which, k0, mine(K, thread), K);
            }
            if (!apart) barrier.wait();
            BPTT_PHASE(weights, thread);
            const Slots& slots = layout->slots;
            const long per_slot = (layout->H + MR - 1) / MR;
            blocks(mine(slots.slots * per_slot, thread), per_slot, layout->H, D + k0 * ldd, ldd, layout->Hp, K,
                   [&](long slot, auto&& use) {
                       const long x = slot - slots.x_slot, h = slot - slots.h_slot;
                       if (input.wanted && x >= 0 && x < slots.gates) use(input, slots.x_gate[x] * layout->H);
                       if (state.wanted && h >= 0 && h < slots.gates) use(state, slots.h_gate[h] * layout->H);
                   });
            if (projection.wanted) {
                const long all = (f->shape.P + MR - 1) / MR;
                blocks(mine(all, thread), all, f->shape.P, dP + k0 * ldp, ldp, 0, K, [&](long, auto&& use) { use(projection, 0); });
            }
            if (f->db_ih || f->db_hh) add_biases(D + k0 * ldd, ldd, K, thread);
            any = true;
        }
    }

    // Where threads go apart, after the last add: what the others will read is whole. A barrier has to follow.
    void settle() {
        if (any) return;
        for (const Target* t : {&input, &state, &projection})
            if (t->wanted) clear(t->made, t->size());
        if (f->db_ih || f->db_hh) clear(own_sums, sums_size());
        any = true;
    }

    // After the last add and a barrier.
    void finish(int thread) {
        for (const Target* t : {&input, &state, &projection}) deliver(*t, thread);
        if (thread) return;
        if (apart && (f->db_ih || f->db_hh))
            for (int other = 1; other < threads; other++) add_to(sums, sums + other * sums_size(), sums_size());
        const Slots& slots = layout->slots;
        for (long g = 0; g < slots.gates; g++) {
            const long H = layout->H;
            give(f->db_ih, slots.x_gate[g] * H, slots.x_slot + g);
            give(f->db_hh, slots.h_gate[g] * H, slots.h_slot + g);
        }
    }

private:
    // One gradient matrix, [height][n]; ld is n in whole vectors.
    struct Target {
        S* wanted = nullptr;
        S* others = nullptr;  // where threads go apart: what all but the first of them make
        S* right = nullptr;   // the packed right operand of its product
        S* made = nullptr;    // what this thread adds to
        long height = 0, n = 0, ld = 0;

        long size() const { return height * n; }
    };

    // Blocks of the left operand packed at a time: they stay in the second cache while the panels of the right one pass.
    static constexpr long group = 5;
    // With fewer columns of the right operand packing the left one takes longer than it saves; so many inner steps of it then stay
    // in the first cache.
    static constexpr long packing_pays = 128, unpacked_depth = 256;

    int teams() const { return apart ? threads : 1; }
    Range mine(long n, int thread) const { return apart ? Range{0, n} : share(n, threads, thread); }
    long sums_size() const { return layout->slots.slots * layout->Hp; }
    long left_size() const { return round_up(group * MR * depth + V<S>, 32); }

    Target target(S* wanted, long height, long n, Carve& carve) {
        const long ld = round_up(n, V<S>);
        S* others = carve.take<S>(wanted ? (teams() - 1) * height * n : 0);
        S* right = carve.take<S>(wanted ? teams() * depth * ld : 0);
        if (!wanted) return {};
        return {wanted, others, right, wanted, height, n, ld};
    }

    // Rows k0 + part of the right operands, in panels of depth K.
    void pack(Which which, long k0, Range part, long K) {
        const Shape& s = f->shape;
        for (long k = part.begin; k < part.end; k++) {
            const long r = which[k0 + k], at = rows->at(r), t = at / s.B, b = at - t * s.B;
            if (input.wanted) pack_row(input, f->x + t * f->x_step + b * f->x_row, k, K);
            if (state.wanted) {
                const long before = rows->before(r, t);
                const S* h = before >= 0 ? f->y + rows->at(before) * layout->Y : before == Rows::initial ? f->h0 + b * layout->Y : nullptr;
                pack_row(state, h, k, K);
            }
            if (projection.wanted) {
                const S* o = f->gates + r * layout->ldg;
                const S* c = f->cells + r * layout->ldc;
                each_vector(projection, k, K, [&](long v) { return load(o + layout->place(3, v)) * hyperbolic<S>(load(c + v)); });
            }
        }
    }

    void pack_row(const Target& to, const S* from, long k, long K) {
        each_vector(to, k, K, [&](long v) { return from ? load_first(from + v, to.n - v) : Vec<S>{}; });
    }

    template <class Make>
    void each_vector(const Target& to, long k, long K, Make make) {
        for (long v = 0; v < to.ld; v += V<S>) {
            const long first = v / NR<S> * NR<S>, width = least(NR<S>, to.ld - first);
            store(to.right + first * K + k * width + v - first, make(v));
        }
    }

    // Blocks `part` of the left operand, `per_slot` to each slot of `height` columns, slots `between`.
    template <class Uses>
    void blocks(Range part, long per_slot, long height, const S* A, long lda, long between, long K, Uses uses) {
        const long inner = packs_left ? K : least(K, unpacked_depth);
        for (long n0 = part.begin; n0 < part.end;) {
            const long slot = n0 / per_slot;
            const long n1 = least(least(n0 + group, part.end), (slot + 1) * per_slot);
            const auto edge = [&](long n) { return height * (n - slot * per_slot) / per_slot; };
            const S* const columns = A + slot * between;
            if (packs_left) {
                S* to = left;
                for (long n = n0; n < n1; n++) {
                    pack_block(columns + edge(n), lda, edge(n + 1) - edge(n), K, to);
                    to += (edge(n + 1) - edge(n)) * K;
                }
            }
            for (long k = 0; k < K; k += inner)
                uses(slot, [&](const Target& t, long row) {
                    const long deep = least(inner, K - k);
                    const bool first = !any && k == 0;
                    for (long v = 0; v < t.ld; v += NR<S>) {
                        const long width = least(NR<S>, t.ld - v);
                        const S* from = left;
                        for (long n = n0; n < n1; n++) {
                            const long u = edge(n), R = edge(n + 1) - u;
                            S* C = t.made + (row + u) * t.n + v;
                            const S* right = t.right + v * K + k * width;
                            const Term<S> term = packs_left ? Term<S>{from, R, right, 0, deep}
                                                            : Term<S>{columns + k * lda + u, lda, right, 0, deep};
                            if (width == NR<S>) tile_of<S, 1, 2, true>(R, &term, 1, first ? nullptr : C, t.n, C, t.n, 0, t.n - v);
                            else tile_of<S, 1, 1, true>(R, &term, 1, first ? nullptr : C, t.n, C, t.n, 0, t.n - v);
                            from += R * K;
                        }
                    }
                });
            n0 = n1;
        }
    }

    void add_biases(const S* D, long ldd, long K, int thread) {
        const Range part = mine(sums_size() / V<S>, thread);
        constexpr long strip = 4;
        for (long v0 = part.begin; v0 < part.end; v0 += strip) {
            const long n = least(strip, part.end - v0);
            Vec<S> sum[strip] = {};
            for (long k = 0; k < K; k++)
                for (long i = 0; i < n; i++) sum[i] += load(D + k * ldd + (v0 + i) * V<S>);
            for (long i = 0; i < n; i++) {
                S* to = own_sums + (v0 + i) * V<S>;
                store(to, any ? load(to) + sum[i] : sum[i]);
            }
        }
    }

    void deliver(const Target& t, int thread) {
        if (!t.wanted) return;
        const Range part = share(t.size(), threads, thread);
        if (!any) return clear(t.wanted + part.begin, part.size());
        for (int other = 0; other < teams() - 1; other++) add_to(t.wanted + part.begin, t.others + other * t.size() + part.begin, part.size());
    }

    static void add_to(S* to, const S* from, long n) {
        for (long v = 0; v < n; v += V<S>) store_first(to + v, load_first(to + v, n - v) + load_first(from + v, n - v), n - v);
    }

    void give(S* to, long at, long slot) {
        if (!to) return;
        if (any) copy(to + at, sums + slot * layout->Hp, layout->H);
        else clear(to + at, layout->H);
    }

    const Backward<S>* f = nullptr;
    const Layout<S>* layout = nullptr;
    const Rows* rows = nullptr;
    int threads = 1;
    long depth = 0;
    bool packs_left = false;
    Target input, state, projection;
    bool apart = false;
    S *sums = nullptr, *own_sums = nullptr, *left = nullptr;
    bool any = false;
};

}  // namespace
}  // namespace bptt::BPTT_ISA
