// The weights' gradients: dW += Dᵀ X over the compact rows of a chunk. Threads share the rows of dW, so that no sum depends on
// how many there are.
#pragma once

#include "layout.h"
#include "micro/activation.h"
#include "phases.h"
#include "team.h"

namespace bptt::BPTT_ISA {
namespace {

template <class S>
class WeightGradients {
public:
    void place(const Backward<S>& backward, const Layout<S>& l, const Rows& compact, int team, long limit, Carve& carve) {
        f = &backward;
        layout = &l;
        rows = &compact;
        threads = team;
        depth = least(limit, inner_block);
        const Shape& s = f->shape;
        const long gate_rows = l.slots.gates * s.H;
        input = target(f->dw_ih, gate_rows, s.I, carve);
        state = target(f->dw_hh, gate_rows, l.Y, carve);
        projection = target(f->dw_hr, s.P, s.H, carve);
        packs_left = most(input.ld + state.ld, projection.ld) > packing_pays;
        sums = carve.take<S>(f->db_ih || f->db_hh ? l.slots.slots * l.Hp : 0);
        left = carve.take<S>(threads * left_size());
    }

    // Rows r0 to r1, whose errors lie in D (and, of a projection's output, in dP).
    void add(long r0, long r1, const S* D, long ldd, const S* dP, long ldp, int thread, Barrier& barrier) {
        for (long k0 = r0; k0 < r1; k0 += depth) {
            const long K = least(depth, r1 - k0);
            if (k0 > r0) barrier.wait();
            {
                BPTT_PHASE(weight_pack, thread);
                pack(k0, share(K, threads, thread), K);
            }
            barrier.wait();
            BPTT_PHASE(weights, thread);
            const Slots& slots = layout->slots;
            const long per_slot = (layout->H + MR - 1) / MR;
            blocks(share(slots.slots * per_slot, threads, thread), per_slot, layout->H, D + k0 * ldd, ldd, layout->Hp, K, thread,
                   [&](long slot, auto&& use) {
                       const long x = slot - slots.x_slot, h = slot - slots.h_slot;
                       if (input.made && x >= 0 && x < slots.gates) use(input, slots.x_gate[x] * layout->H);
                       if (state.made && h >= 0 && h < slots.gates) use(state, slots.h_gate[h] * layout->H);
                   });
            if (projection.made) {
                const long all = (f->shape.P + MR - 1) / MR;
                blocks(share(all, threads, thread), all, f->shape.P, dP + k0 * ldp, ldp, 0, K, thread,
                       [&](long, auto&& use) { use(projection, 0); });
            }
            if (f->db_ih || f->db_hh) add_biases(D + k0 * ldd, ldd, K, thread);
            any = true;
        }
    }

    // After the last add and a barrier.
    void finish(int thread) {
        for (Target* t : {&input, &state, &projection}) deliver(*t, thread);
        if (thread) return;
        const Slots& slots = layout->slots;
        for (long g = 0; g < slots.gates; g++) {
            const long H = layout->H;
            give(f->db_ih, slots.x_gate[g] * H, slots.x_slot + g);
            give(f->db_hh, slots.h_gate[g] * H, slots.h_slot + g);
        }
    }

private:
    // One gradient matrix: `made` takes whole vectors, and is the caller's own where that has room for them.
    struct Target {
        S* wanted = nullptr;
        S* made = nullptr;
        S* right = nullptr;  // the packed right operand of its product
        long height = 0, n = 0, ld = 0;
    };

    // Blocks of the left operand packed at a time: they stay in the second cache while the panels of the right one pass.
    static constexpr long group = 5;
    // With fewer columns of the right operand packing the left one takes longer than it saves; so many inner steps of it then stay
    // in the first cache.
    static constexpr long packing_pays = 128, unpacked_depth = 256;

    long left_size() const { return round_up(group * MR * depth + V<S>, 32); }

    Target target(S* wanted, long height, long n, Carve& carve) {
        const long ld = round_up(n, V<S>);
        S* own = carve.take<S>(wanted && ld != n ? height * ld : 0);
        S* right = carve.take<S>(wanted ? depth * ld : 0);
        if (!wanted) return {};
        return {wanted, ld == n ? wanted : own, right, height, n, ld};
    }

    // Rows k0 + part of the right operands, in panels of depth K.
    void pack(long k0, Range part, long K) {
        const Shape& s = f->shape;
        for (long k = part.begin; k < part.end; k++) {
            const long r = k0 + k, at = rows->at(r), t = at / s.B, b = at - t * s.B;
            if (input.made) pack_row(input, f->x + t * f->x_step + b * f->x_row, k, K);
            if (state.made) {
                const long before = rows->before(r, t);
                const S* h = before >= 0 ? f->y + rows->at(before) * layout->Y : before == Rows::initial ? f->h0 + b * layout->Y : nullptr;
                pack_row(state, h, k, K);
            }
            if (projection.made) {
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

    // Blocks `part` of the left operand, `per_slot` to each slot of `height` columns, slots `apart`.
    template <class Uses>
    void blocks(Range part, long per_slot, long height, const S* A, long lda, long apart, long K, int thread, Uses uses) {
        S* const mine = left + thread * left_size();
        const long inner = packs_left ? K : least(K, unpacked_depth);
        for (long n0 = part.begin; n0 < part.end;) {
            const long slot = n0 / per_slot;
            const long n1 = least(least(n0 + group, part.end), (slot + 1) * per_slot);
            const auto edge = [&](long n) { return height * (n - slot * per_slot) / per_slot; };
            const S* const columns = A + slot * apart;
            if (packs_left) {
                S* to = mine;
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
                        const S* from = mine;
                        for (long n = n0; n < n1; n++) {
                            const long u = edge(n), R = edge(n + 1) - u;
                            S* C = t.made + (row + u) * t.ld + v;
                            const S* right = t.right + v * K + k * width;
                            const Term<S> term = packs_left ? Term<S>{from, R, right, 0, deep}
                                                            : Term<S>{columns + k * lda + u, lda, right, 0, deep};
                            if (width == NR<S>) tile_of<S, 1, 2, true>(R, &term, 1, first ? nullptr : C, t.ld, C, t.ld, 0);
                            else tile_of<S, 1, 1, true>(R, &term, 1, first ? nullptr : C, t.ld, C, t.ld, 0);
                            from += R * K;
                        }
                    }
                });
            n0 = n1;
        }
    }

    void add_biases(const S* D, long ldd, long K, int thread) {
        const Range part = share(layout->slots.slots * layout->Hp / V<S>, threads, thread);
        constexpr long strip = 4;
        for (long v0 = part.begin; v0 < part.end; v0 += strip) {
            const long n = least(strip, part.end - v0);
            Vec<S> sum[strip] = {};
            for (long k = 0; k < K; k++)
                for (long i = 0; i < n; i++) sum[i] += load(D + k * ldd + (v0 + i) * V<S>);
            for (long i = 0; i < n; i++) {
                S* to = sums + (v0 + i) * V<S>;
                store(to, any ? load(to) + sum[i] : sum[i]);
            }
        }
    }

    void deliver(const Target& t, int thread) {
        if (!t.wanted) return;
        const Range part = share(t.height, threads, thread);
        for (long i = part.begin; i < part.end; i++) {
            if (!any) clear(t.wanted + i * t.n, t.n);
            else if (t.made != t.wanted) copy(t.wanted + i * t.n, t.made + i * t.ld, t.n);
        }
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
    S *sums = nullptr, *left = nullptr;
    bool any = false;
};

}  // namespace
}  // namespace bptt::BPTT_ISA
