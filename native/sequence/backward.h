// The backward pass: against the forward's order, chunk by chunk. In each the steps, whose errors of the gates' sums go to a
// buffer of the chunk; then, while that is near, what it adds to dx and to the weights' gradients. Threads that split the rows of
// the batch go apart, each through chunks of its own, and add up the weights' gradients at the end: no error goes from core to core.
#pragma once

#include "gates.h"
#include "layout.h"
#include "micro/unpacked.h"
#include "phases.h"
#include "team.h"
#include "weights.h"

namespace bptt::BPTT_ISA {
namespace {

template <class S>
class BackwardPass {
public:
    BackwardPass(const Backward<S>& backward, const Rows& compact, Partition partition, void* memory)
        : f(backward), s(backward.shape), layout(s), rows(compact), split(partition) {
        const long G = layout.slots.gates, depth = G * layout.Hp;
        limit = apart ? most(mine_at_most, least(chunk_rows(), s.T * mine_at_most)) : chunk_limit(rows, chunk_rows());
        const long buffers = apart ? split.threads : 1;
        Carve carve(memory);
        const auto packed = [&](long K, long columns, bool wanted) {
            return Packed<S>{carve.take<S>(wanted ? Packed<S>::size(K, columns) : 0), K, columns};
        };
        wx = packed(depth, s.I, f.dx && !unpacked);
        wh = packed(depth, layout.Y, !unpacked);
        wr = packed(s.P, s.H, s.P);
        zeros = carve.take<S>(most(layout.ldc, layout.Y));
        c0 = carve.take<S>(s.cell == Cell::lstm ? s.B * layout.ldc : 0);
        dc = carve.take<S>(s.cell == Cell::lstm ? s.B * layout.ldc : 0);
        dh_ld = spread<S>(layout.Y);
        dh = carve.take<S>(s.B * dh_ld);
        error_ld = spread_operand<S>(layout.slots.slots * layout.Hp);
        errors = carve.take<S>(buffers * whole(error_ld));
        outer_ld = spread_operand<S>(s.P);
        outer = carve.take<S>(s.P ? buffers * whole(outer_ld) : 0);
        inner_ld = layout.ldc;
        inner = carve.take<S>(s.P ? split.threads * s.B * inner_ld : 0);
        strip = carve.take<S>(split.threads * s.B * NR<S> * side_by_side);
        tables = carve.take<S*>(split.threads * s.B * tables_each);
        x_ld = round_up(s.I, V<S>);
        x_rows = carve.take<S>(f.dx ? split.threads * block_rows * x_ld : 0);
        which = carve.take<int>(apart ? buffers * limit : 0);
        gradients.place(f, layout, rows, split.threads, apart, limit, carve);
        bytes = carve.used();
    }
    BackwardPass(const BackwardPass&) = delete;

    std::size_t bytes;

    void part(int thread, Barrier& barrier) {
        const Range units = split.by_rows ? Range{0, layout.panels} : share(layout.panels, split.threads, thread);
        const Range mine = split.by_rows ? share(s.B, split.threads, thread) : Range{0, s.B};
        if (apart) {
            errors += thread * whole(error_ld);
            outer += s.P ? thread * whole(outer_ld) : 0;
            which += thread * limit;
        }
        gradients.begin(thread);
        prepare(thread);
        barrier.wait();
        const bool down = !s.reverse;
        for (long done = 0; done < s.T;) {
            const long first = down ? s.T - 1 - done : done;
            const Range steps = apart ? own_chunk(first, down, mine) : chunk(rows, first, down, chunk_rows());
            const long r0 = rows.begin(steps.begin);
            Place pending{};
            long own = 0;
            for (long i = 0; i < steps.size(); i++) {
                const long t = down ? steps.end - 1 - i : steps.begin + i;
                const Range r = rows_of(t, mine);
                const Place here{t, r, apart ? own : r.begin - r0};
                if (apart)
                    for (long n = r.begin; n < r.end; n++) which[own++] = int(n);
                step(here, pending, units, thread, barrier);
                pending = here;
                if (!split.by_rows) barrier.wait();
            }
            hand_back(pending, products(units, thread), thread);
            if (!apart && (split.by_rows || s.P)) barrier.wait();
            const Which made{r0, apart ? which : nullptr};
            const long all = apart ? own : rows.begin(steps.end) - r0;
            if (f.dx) input_errors(apart ? Range{0, all} : share(all, split.threads, thread), made, thread);
            gradients.add(made, all, errors, error_ld, outer, outer_ld, thread, barrier);
            if (!apart) barrier.wait();
            done += steps.size();
        }
        finish(thread);
        if (apart) {
            gradients.settle();
            barrier.wait();
        }
        gradients.finish(thread);
    }

private:
    // A step's compact rows, and where the errors of the first of them lie in the chunk.
    struct Place {
        long t;
        Range r;
        long at;
    };

    static constexpr long block_rows = 256, side_by_side = 4, tables_each = 6;

    // Rows of errors at a time: where they fit, no more than stay in the second caches; else enough that the weights' gradients are
    // added up seldom. Threads that go apart have small weights, and each a second cache for its own.
    long chunk_rows() const {
        if (apart) return 512;
        return layout.slots.slots * layout.Hp * long(sizeof(S)) > 2048 ? 1024 : least(1024, 512 * split.threads);
    }

    // A chunk's errors: packing reads a vector past the last of them.
    long whole(long ld) const { return limit * ld + most(V<S>, line<S>); }

    // Worth it where errors that would go from core to core are more than the gradients that then do; which also bounds the memory.
    bool goes_apart() const { return split.by_rows && split.threads > 1 && rows.N >= split.threads * (s.I + layout.Y); }

    Range own_chunk(long t, bool down, Range mine) const {
        Range steps{t, t + 1};
        for (long own = rows_of(t, mine).size();;) {
            const long next = down ? steps.begin - 1 : steps.end;
            if (next < 0 || next >= s.T) return steps;
            own += rows_of(next, mine).size();
            if (own > limit) return steps;
            (down ? steps.begin : steps.end) += down ? -1 : 1;
        }
    }

    // Panels of the state's error that this thread makes.
    Range products(Range units, int thread) const {
        if (!s.P) return units;
        return split.by_rows ? Range{0, wh.panels()} : share(wh.panels(), split.threads, thread);
    }

    void pack_gates(const S* W, const Packed<S>& to, const int* gate, int thread) {
        const Range panels = share(to.panels(), split.threads, thread);
        for (long p = panels.begin; p < panels.end; p++)
            for (long g = 0; g < layout.slots.gates; g++)
                pack_rows(W + gate[g] * s.H * to.columns, to.columns, s.H, layout.Hp, p,
                          to.panel(p) + g * layout.Hp * to.vectors(p) * V<S>);
    }

    void prepare(int thread) {
        BPTT_PHASE(prepare, thread);
        if (!unpacked) pack_gates(f.w_hh, wh, layout.slots.h_gate, thread);
        if (f.dx && !unpacked) pack_gates(f.w_ih, wx, layout.slots.x_gate, thread);
        if (s.P) {
            const Range panels = share(wr.panels(), split.threads, thread);
            for (long p = panels.begin; p < panels.end; p++) pack_rows(f.w_hr, s.H, s.P, s.P, p, wr.panel(p));
        }
        const Range starts = share(s.B, split.threads, thread);
        for (long b = starts.begin; b < starts.end; b++) {
            const bool fresh = rows.end_of(b) == Rows::fresh;
            clear(dh + b * dh_ld, dh_ld);
            if (f.dh_end && !fresh) copy(dh + b * dh_ld, f.dh_end + b * layout.Y, layout.Y);
            if (s.cell != Cell::lstm) continue;
            clear(dc + b * layout.ldc, layout.ldc);
            if (f.dc_end && !fresh) copy(dc + b * layout.ldc, f.dc_end + b * s.H, s.H);
            clear(c0 + b * layout.ldc, layout.ldc);
            copy(c0 + b * layout.ldc, f.c0 + b * s.H, s.H);
        }
        const Range places = share(f.dx && s.mask ? s.T * s.B : 0, split.threads, thread);
        for (long at = places.begin; at < places.end; at++)
            if (!s.mask[at]) clear(f.dx + at * s.I, s.I);
        if (!thread) clear(zeros, most(layout.ldc, layout.Y));
    }

    Range rows_of(long t, Range mine) const {
        return split.by_rows ? Range{rows.find(t, mine.begin), rows.find(t, mine.end)} : Range{rows.begin(t), rows.begin(t + 1)};
    }

    // dh of the step before, of the given panels: the products, limited; zero where the state was reset.
    void hand_back(const Place& from, Range panels, int thread) {
        const Groups groups = groups_of(panels, from.r.size());
        for (long n = 0; n < groups.count; n++) hand_back_panels(from, groups.at(n, false), thread);
    }

    // With few rows several panels are made side by side.
    Groups groups_of(Range panels, long M) const {
        return {panels, panels.size() && wh.vectors(panels.end - 1) == 1, M * 4 > accumulators ? 1 : side_by_side};
    }

    void hand_back_panels(const Place& from, Range panels, int thread) {
        BPTT_PHASE(state, thread);
        const long t = from.t;
        const Range r = from.r;
        const long p = panels.begin, side = panels.size();
        const long M = r.size(), width = (side - 1) * NR<S> + wh.vectors(p + side - 1) * V<S>, at = p * NR<S>;
        if (!M) return;
        const S* A = errors + from.at * error_ld + layout.slots.h_slot * layout.Hp;
        if (rows.kind_of(t) != Rows::scattered) {
            S* C = dh + (rows.at(r.begin) - t * s.B) * dh_ld;
            state_product(M, A, p, side, C, dh_ld, C, dh_ld);
            if (s.clip_step > limit_of_numbers()) return;
            for (long i = 0; i < M; i++)
                for (long v = at; v < at + width; v += V<S>) store(C + i * dh_ld + v, clamp<S>(load(C + i * dh_ld + v), S(s.clip_step)));
            return;
        }
        constexpr long ld = NR<S> * side_by_side;
        S* made = strip + thread * s.B * ld;
        state_product(M, A, p, side, nullptr, 0, made - at, ld);
        for (long i = 0; i < M; i++) {
            S* to = dh + (rows.at(r.begin + i) - t * s.B) * dh_ld + at;
            const bool fresh = rows.before(r.begin + i, t) == Rows::fresh;
            for (long v = 0; v < width; v += V<S>)
                store(to + v, fresh ? Vec<S>{} : clamp<S>(load(to + v) + load(made + i * ld + v), S(s.clip_step)));
        }
    }

    void state_product(long M, const S* A, long p, long side, const S* init, long ldi, S* C, long ldc) const {
        if (!unpacked) return product<S>(M, A, error_ld, wh, p, p + side, init, ldi, C, ldc);
        const long end = least(round_up(layout.Y, V<S>), (p + side) * NR<S>);
        gate_rows_product<S>(M, A, error_ld, gate_rows(f.w_hh, layout.Y, layout.slots.h_gate), p * NR<S>, end, init, ldi, C, ldc);
    }

    GateRows<S> gate_rows(const S* W, long n, const int* gate) const {
        GateRows<S> made{W, n, s.H, layout.Hp, {}, layout.slots.gates};
        for (int g = 0; g < made.gates; g++) made.row[g] = gate[g] * s.H;
        return made;
    }

    static S limit_of_numbers() { return sizeof(S) == 4 ? S(3.4028234663852886e38) : S(1.7976931348623157e308); }

    void step(const Place& here, const Place& pending, Range units, int thread, Barrier& barrier) {
        const Range r = here.r;
        StepBackward<S> e{};
        if (r.size()) locate(here, e, tables + thread * s.B * tables_each);
        if (s.P) {
            S* const dP = outer + here.at * outer_ld;
            hand_back(pending, products(units, thread), thread);
            if (r.size()) add_outer(r, e, products(units, thread), dP);
            if (!split.by_rows) barrier.wait();
            if (r.size()) {
                S* made = inner + thread * s.B * inner_ld;
                product<S>(r.size(), dP, outer_ld, wr, units.begin, units.end, nullptr, 0, made, inner_ld);
                e.outer = made;
                e.outer_ld = inner_ld;
                apply(e, r.size(), units.begin * NR<S>, least(layout.Hp, units.end * NR<S>), thread);
            }
            return;
        }
        const Groups groups = groups_of(units, most(r.size(), pending.r.size()));
        const bool back = Groups::turns(here.t, r.size(), wh.far());
        for (long n = 0; n < groups.count; n++) {
            const Range panels = groups.at(n, back);
            hand_back_panels(pending, panels, thread);
            if (r.size()) apply(e, r.size(), panels.begin * NR<S>, (panels.end - 1) * NR<S> + layout.width(panels.end - 1), thread);
        }
    }

    // With a projection: the whole error of h, kept for the projection's own gradient. What is carried to h begins anew.
    void add_outer(Range r, const StepBackward<S>& e, Range panels, S* dP) {
        const long v0 = panels.begin * NR<S>, v1 = least(round_up(s.P, V<S>), panels.end * NR<S>);
        for (long i = 0; i < r.size(); i++)
            for (long v = v0; v < v1; v += V<S>) {
                const Vec<S> carried = load(e.dh[i] + v);
                store(dP + i * outer_ld + v, f.dy ? carried + load_first(e.dy[i] + v, s.P - v) : carried);
                store(e.dh[i] + v, Vec<S>{});
            }
    }

    void locate(const Place& here, StepBackward<S>& e, S** table) {
        const long t = here.t;
        const Range r = here.r;
        const long Y = layout.Y, ldc = layout.ldc;
        const bool lstm = s.cell == Cell::lstm;
        e.gates = f.gates ? f.gates + r.begin * layout.ldg : nullptr;
        e.layout = &layout;
        e.ldg = layout.ldg;
        e.Hp = layout.Hp;
        e.H = s.H;
        e.errors = errors + here.at * error_ld;
        e.lde = error_ld;
        e.c = lstm ? f.cells + r.begin * ldc : nullptr;
        e.ldc = ldc;
        e.limit = S(s.clip_step);
        if (rows.kind_of(t) != Rows::scattered) {
            const long at = rows.at(r.begin), b = at - t * s.B, before = rows.before(r.begin, t);
            const bool start = before == Rows::initial;
            e.dh = {dh + b * dh_ld, dh_ld, nullptr};
            e.dy = {f.dy ? f.dy + t * f.dy_step + b * f.dy_row : nullptr, f.dy_row, nullptr};
            e.h = {f.y + at * Y, Y, nullptr};
            e.h_before = {start ? f.h0 + b * Y : f.y + rows.at(before) * Y, Y, nullptr};
            if (!lstm) return;
            e.dc = {dc + b * ldc, ldc, nullptr};
            e.c_before = {start ? c0 + b * ldc : f.cells + before * ldc, ldc, nullptr};
            return;
        }
        S** dh_rows = table;
        S** dc_rows = table + s.B;
        const S** dy_rows = const_cast<const S**>(table + 2 * s.B);
        const S** h_rows = dy_rows + s.B;
        const S** h_before = dy_rows + 2 * s.B;
        const S** c_before = dy_rows + 3 * s.B;
        for (long i = 0; i < r.size(); i++) {
            const long at = rows.at(r.begin + i), b = at - t * s.B, before = rows.before(r.begin + i, t);
            dh_rows[i] = dh + b * dh_ld;
            dy_rows[i] = f.dy ? f.dy + t * f.dy_step + b * f.dy_row : nullptr;
            h_rows[i] = f.y + at * Y;
            h_before[i] = before == Rows::fresh ? zeros : before == Rows::initial ? f.h0 + b * Y : f.y + rows.at(before) * Y;
            if (!lstm) continue;
            dc_rows[i] = dc + b * ldc;
            c_before[i] = before == Rows::fresh ? zeros : before == Rows::initial ? c0 + b * ldc : f.cells + before * ldc;
        }
        e.dh = {nullptr, 0, dh_rows};
        e.dc = {nullptr, 0, dc_rows};
        e.dy = {nullptr, 0, f.dy ? dy_rows : nullptr};
        e.h = {nullptr, 0, h_rows};
        e.h_before = {nullptr, 0, h_before};
        e.c_before = {nullptr, 0, c_before};
        e.prev = rows.prev + r.begin;
    }

    void apply(const StepBackward<S>& e, long M, long u0, long u1, [[maybe_unused]] int thread) {
        BPTT_PHASE(gates, thread);
        if (s.cell == Cell::lstm) return lstm_backward<S>(e, M, u0, u1);
        if (s.cell == Cell::gru) return gru_backward<S>(e, M, u0, u1);
        if (s.activation == Activation::tanh) return rnn_backward<S, Activation::tanh>(e, M, u0, u1);
        if (s.activation == Activation::relu) return rnn_backward<S, Activation::relu>(e, M, u0, u1);
        rnn_backward<S, Activation::identity>(e, M, u0, u1);
    }

    // dx of some of the chunk's rows.
    void input_errors(Range part_of_chunk, Which made, int thread) {
        BPTT_PHASE(input_errors, thread);
        const bool direct = !apart && rows.dense && s.I % V<S> == 0;
        for (long i0 = part_of_chunk.begin; i0 < part_of_chunk.end; i0 += block_rows) {
            const long M = least(block_rows, part_of_chunk.end - i0);
            const S* A = errors + i0 * error_ld + layout.slots.x_slot * layout.Hp;
            S* C = direct ? f.dx + made[i0] * s.I : x_rows + thread * block_rows * x_ld;
            const long ld = direct ? s.I : x_ld;
            if (unpacked) gate_rows_product<S>(M, A, error_ld, gate_rows(f.w_ih, s.I, layout.slots.x_gate), 0, ld, nullptr, 0, C, ld);
            else product<S>(M, A, error_ld, wx, 0, wx.panels(), nullptr, 0, C, ld);
            if (direct) continue;
            for (long i = 0; i < M; i++) copy(f.dx + rows.at(made[i0 + i]) * s.I, C + i * ld, s.I);
        }
    }

    void finish(int thread) {
        const Range starts = share(s.B, split.threads, thread);
        for (long b = starts.begin; b < starts.end; b++) {
            if (f.dh0) copy(f.dh0 + b * layout.Y, dh + b * dh_ld, layout.Y);
            if (f.dc0) copy(f.dc0 + b * s.H, dc + b * layout.ldc, s.H);
        }
    }

    const Backward<S>& f;
    const Shape& s;
    const Layout<S> layout;
    const Rows& rows;
    const Partition split;
    const bool unpacked = rows.N <= unpacked_rows, apart = goes_apart();
    const long mine_at_most = (s.B + split.threads - 1) / split.threads;
    long limit;  // rows of a chunk
    int* which;  // the compact rows of this thread's chunk, where threads go apart
    Packed<S> wx, wh, wr;
    S *zeros, *c0, *dc, *dh, *errors, *outer, *inner, *strip, *x_rows;
    long dh_ld, error_ld, outer_ld, inner_ld, x_ld;
    S** tables;
    WeightGradients<S> gradients;
};

}  // namespace
}  // namespace bptt::BPTT_ISA
