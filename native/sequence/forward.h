// The forward pass: chunks of time; in each the input's products for all its rows, then step after step the state's products
// with the gates behind them, panel by panel, while they are near.
#pragma once

#include "gates.h"
#include "layout.h"
#include "micro/unpacked.h"
#include "phases.h"
#include "team.h"

namespace bptt::BPTT_ISA {
namespace {

template <class S>
class ForwardPass {
public:
    // Places every buffer in `memory`; with null it only counts them.
    ForwardPass(const Forward<S>& forward, const Rows& compact, Partition partition, void* memory)
        : f(forward), s(forward.shape), layout(s), rows(compact), split(partition) {
        Carve carve(memory);
        wx = {carve.take<S>(unpacked ? 0 : GatePanels<S>::size(layout, s.I)), s.I, &layout};
        wh = {carve.take<S>(unpacked ? 0 : GatePanels<S>::size(layout, layout.Y)), layout.Y, &layout};
        bias = carve.take<S>(layout.ldg);
        zeros = carve.take<S>(most(layout.ldc, layout.Y));
        c0 = carve.take<S>(s.cell == Cell::lstm ? s.B * layout.ldc : 0);
        if (!f.gates)
            for (S*& gates : own_gates) gates = carve.take<S>(chunk_limit(rows, chunk_rows) * layout.ldg);
        x_ld = spread_operand<S>(s.I);
        x_rows = carve.take<S>(split.threads * x_height() * x_ld);
        h_ld = spread_operand<S>(layout.Y);
        h_rows = carve.take<S>(split.threads * s.B * h_ld);
        tables = carve.take<S*>(split.threads * s.B * 4);
        wr = {carve.take<S>(s.P ? Packed<S>::size(s.H, s.P) : 0), s.H, s.P};
        inner_ld = spread_operand<S>(s.H);
        inner = carve.take<S>(s.P ? s.B * inner_ld : 0);
        outer = carve.take<S>(s.P ? split.threads * s.B * round_up(s.P, V<S>) : 0);
        bytes = carve.used();
    }
    ForwardPass(const ForwardPass&) = delete;

    std::size_t bytes;

    void part(int thread, Barrier& barrier) {
        const Range units = split.by_rows ? Range{0, layout.panels} : share(layout.panels, split.threads, thread);
        const Range mine = split.by_rows ? share(s.B, split.threads, thread) : Range{0, s.B};
        prepare(thread);
        barrier.wait();
        const bool down = s.reverse;
        int turn = 0;
        for (long done = 0; done < s.T;) {
            const bool brief = at_once && !f.gates;
            const Range steps = chunk(rows, down ? s.T - 1 - done : done, down, brief ? 1 : chunk_rows);
            const long r0 = rows.begin(steps.begin), r1 = rows.begin(steps.end);
            // Without a tape the chunks take turns in two buffers: one thread may be a chunk ahead of another. Where no barrier
            // holds them together, each thread keeps to its own part of a buffer.
            const long first = brief && split.by_rows ? rows.find(steps.begin, mine.begin) - mine.begin : r0;
            S* gates = f.gates ? f.gates : own_gates[turn] - first * layout.ldg;
            turn = 1 - turn;
            Range part_of_chunk{r0, r1};
            if (split.by_rows) {
                part_of_chunk = share(r1 - r0, split.threads, thread);
                part_of_chunk = {part_of_chunk.begin + r0, part_of_chunk.end + r0};
            }
            if (!at_once) inputs(part_of_chunk, units, gates, thread);
            if (!at_once && split.by_rows) barrier.wait();
            for (long i = 0; i < steps.size(); i++) step(down ? steps.end - 1 - i : steps.begin + i, mine, units, gates, thread, barrier);
            done += steps.size();
        }
        finish(mine, units);
    }

private:
    // Rows of gates that are made at a time: few enough to be near when the steps come to them.
    static constexpr long chunk_rows = 256, block_rows = 256;

    void prepare(int thread) {
        BPTT_PHASE(prepare, thread);
        const long G = layout.slots.gates, all = layout.panels * G;
        const Range packs = share(unpacked ? 0 : 2 * all, split.threads, thread);
        for (long n = packs.begin; n < packs.end; n++) {
            const bool input = n < all;
            const long j = n % all / G, g = n % G;
            const GatePanels<S>& to = input ? wx : wh;
            const long gate = input ? layout.slots.x_gate[g] : layout.slots.h_gate[g];
            pack_transposed((input ? f.w_ih : f.w_hh) + gate * s.H * to.K, s.H, to.K, j, to.at(j, g));
        }
        const Range projection = s.P ? share(wr.panels(), split.threads, thread) : Range{0, 0};
        for (long p = projection.begin; p < projection.end; p++) pack_transposed(f.w_hr, s.P, s.H, p, wr.panel(p));
        const Range times = share(s.mask ? s.T * s.B : 0, split.threads, thread);
        for (long at = times.begin; at < times.end; at++)
            if (!s.mask[at]) clear(f.y + at * layout.Y, layout.Y);
        if (s.cell == Cell::lstm) {
            const Range starts = share(s.B, split.threads, thread);
            for (long b = starts.begin; b < starts.end; b++) {
                clear(c0 + b * layout.ldc, layout.ldc);
                copy(c0 + b * layout.ldc, f.c0 + b * s.H, s.H);
            }
        }
        if (thread) return;
        clear(zeros, most(layout.ldc, layout.Y));
        clear(bias, layout.ldg);
        for (long g = 0; g < G; g++)
            for (long u = 0; u < s.H; u++) {
                if (f.b_ih) bias[layout.place(layout.slots.x_slot + g, u)] += f.b_ih[layout.slots.x_gate[g] * s.H + u];
                if (f.b_hh) bias[layout.place(layout.slots.h_slot + g, u)] += f.b_hh[layout.slots.h_gate[g] * s.H + u];
            }
    }

    bool sums_at_once() const {
        if (unpacked) return true;
        const double M = double(rows.N) / double(s.T) / (split.by_rows ? split.threads : 1);
        const long bytes = layout.slots.gates * layout.Hp * (layout.Y + s.I) * long(sizeof(S));
        return M >= 4 && (bytes <= 2 * near_bytes || M >= 64);
    }

    long x_height() const { return most(block_rows, s.B); }

    // x at these rows, as a left operand: where it lies, or gathered into `to`.
    Term<S> operand(Range r, S* to) const {
        const bool steady = rows.dense && (r.size() <= 1 || f.x_step == s.B * f.x_row || r.begin / s.B == (r.end - 1) / s.B);
        if (steady && !collides<S>(f.x_row)) return {x_row(f.x, f.x_step, f.x_row, rows, r.begin), f.x_row, nullptr, 0, s.I};
        for (long i = 0; i < r.size(); i++) copy(to + i * x_ld, x_row(f.x, f.x_step, f.x_row, rows, r.begin + i), s.I);
        return {to, x_ld, nullptr, 0, s.I};
    }

    // The sums of the terms in `panels` slots from `slot` on, of panel j of units (of a plain rnn: of so many panels from j on),
    // added to `init`, which lies as the gates do.
    void sum(long j, long slot, long panels, long M, const Term<S>* term, int terms, const S* init, long ldi, S* gates) {
        const long at = layout.place(slot, j * NR<S>), width = layout.width(j);
        if (layout.vectors(j) == 2) product_of<S, 2>(M, term, terms, panels, init + at, ldi, gates + at, layout.ldg, width);
        else product_of<S, 1>(M, term, terms, panels, init + at, ldi, gates + at, layout.ldg, width);
    }

    // A left operand with the panels of a slot's weights: panel j of the n-th gate in slot order.
    static Term<S> with(Term<S> left, const GatePanels<S>& weights, long j, long n) {
        left.B = weights.at(j, n);
        left.ps = weights.K * weights.layout->width(j);
        left.far = weights.far();
        return left;
    }

    // W_ih x + bias of these rows and units, into the gates.
    void inputs(Range part_of_chunk, Range units, S* gates, [[maybe_unused]] int thread) {
        BPTT_PHASE(input, thread);
        const long G = layout.slots.gates;
        for (long r0 = part_of_chunk.begin; r0 < part_of_chunk.end; r0 += block_rows) {
            const long M = least(block_rows, part_of_chunk.end - r0);
            const Term<S> left = operand({r0, r0 + M}, x_rows + thread * x_height() * x_ld);
            S* C = gates + r0 * layout.ldg;
            for (long j = units.begin; j < units.end; j++) {
                const Term<S> term = with(left, wx, j, 0);
                sum(j, layout.slots.x_slot, G, M, &term, 1, bias, 0, C);
                if (s.cell != Cell::gru) continue;
                const long last = layout.place(3, j * NR<S>);
                for (long i = 0; i < M; i++)
                    for (long u = last; u < last + layout.width(j); u += V<S>) store(C + i * layout.ldg + u, load(bias + u));
            }
        }
    }

    void step(long t, Range mine, Range units, S* gates, int thread, Barrier& barrier) {
        const long r0 = split.by_rows ? rows.find(t, mine.begin) : rows.begin(t);
        const long r1 = split.by_rows ? rows.find(t, mine.end) : rows.begin(t + 1);
        const long M = r1 - r0;
        if (M) compute(t, {r0, r1}, mine.begin, units, gates, thread, barrier);
        else if (s.P && !split.by_rows) barrier.wait();
        if (!split.by_rows) barrier.wait();
    }

    // `first`: where the rows of this thread begin in buffers that threads share.
    void compute(long t, Range r, long first, Range units, S* gates, int thread, Barrier& barrier) {
        const long r0 = r.begin, M = r.size();
        S** table = tables + thread * s.B * 4;
        StepForward<S> e{&layout, gates + r0 * layout.ldg, layout.ldg, s.H, {}, {}, {}, {}};
        locate(t, r, e, table);
        const S* A = e.h_before.base;
        long lda = e.h_before.ld;
        if (e.h_before.table || collides<S>(lda)) {
            S* to = h_rows + thread * s.B * h_ld;
            for (long i = 0; i < M; i++) copy(to + i * h_ld, e.h_before[i], layout.Y);
            A = to;
            lda = h_ld;
        }
        const Term<S> state{A, lda, nullptr, 0, layout.Y};
        const Term<S> input = at_once ? operand(r, x_rows + thread * x_height() * x_ld) : Term<S>{};
        const Lines<S> y = e.h;
        if (s.P) e.h = {inner + first * inner_ld, inner_ld, nullptr};
        // The plain rnn has one panel for a unit: with few rows, several side by side.
        const Groups groups(units, narrow_end(units), layout.slots.gates == 1 ? 4 : 1);
        const bool back = Groups::turns(t, M, wh.far());
        for (long n = 0; n < groups.count; n++) {
            const Range panels = groups.at(n, back);
            gate_sums(panels.begin, panels.size(), M, input, state, e.gates, thread);
            BPTT_PHASE(gates, thread);
            activate(e, M, panels.begin * NR<S>, (panels.end - 1) * NR<S> + layout.width(panels.end - 1));
        }
        if (s.P) project(M, first, y, thread, barrier);
    }

    bool narrow_end(Range units) const { return units.size() && layout.vectors(units.end - 1) == 1; }

    // Where the rows of step t come from and go to.
    void locate(long t, Range rows_of_step, StepForward<S>& e, S** table) {
        const long r0 = rows_of_step.begin, M = rows_of_step.size(), Y = layout.Y, ldc = layout.ldc;
        const bool lstm = s.cell == Cell::lstm;
        // Without a tape c lies by rows b, and is overwritten.
        if (rows.kind_of(t) != Rows::scattered) {
            const long b = rows.at(r0) - t * s.B, before = rows.before(r0, t);
            const bool start = before == Rows::initial;
            e.h_before = {start ? f.h0 + b * Y : f.y + rows.at(before) * Y, Y, nullptr};
            e.h = {f.y + rows.at(r0) * Y, Y, nullptr};
            if (!lstm) return;
            e.c_before = {start || !f.cells ? c0 + b * ldc : f.cells + before * ldc, ldc, nullptr};
            e.c = {f.cells ? f.cells + r0 * ldc : c0 + b * ldc, ldc, nullptr};
            return;
        }
        const S** h_before = const_cast<const S**>(table);
        const S** c_before = h_before + s.B;
        S** h = table + 2 * s.B;
        S** c = table + 3 * s.B;
        for (long i = 0; i < M; i++) {
            const long r = r0 + i, b = rows.at(r) - t * s.B, before = rows.before(r, t);
            h_before[i] = before == Rows::fresh ? zeros : before == Rows::initial ? f.h0 + b * Y : f.y + rows.at(before) * Y;
            h[i] = f.y + rows.at(r) * Y;
            if (!lstm) continue;
            c_before[i] = before == Rows::fresh ? zeros : before == Rows::initial || !f.cells ? c0 + b * ldc : f.cells + before * ldc;
            c[i] = f.cells ? f.cells + r * ldc : c0 + b * ldc;
        }
        e.h_before = {nullptr, 0, h_before};
        e.c_before = {nullptr, 0, c_before};
        e.h = {nullptr, 0, h};
        e.c = {nullptr, 0, c};
    }

    // The sums behind the gates of `side` panels of units: all of them, or what the state adds to what the input has made.
    void gate_sums(long j, long side, long M, const Term<S>& input, const Term<S>& state, S* gates, [[maybe_unused]] int thread) {
        BPTT_PHASE(state, thread);
        if (unpacked) return unpacked_sums(j * NR<S>, (j + side - 1) * NR<S> + layout.width(j + side - 1), M, input, state, gates);
        const long panels = layout.slots.gates == 1 ? side : layout.slots.gates;
        if (!at_once) {
            const Term<S> term = with(state, wh, j, 0);
            return sum(j, layout.slots.h_slot, panels, M, &term, 1, gates, layout.ldg, gates);
        }
        if (s.cell != Cell::gru) {
            const Term<S> both[] = {with(input, wx, j, 0), with(state, wh, j, 0)};
            return sum(j, 0, panels, M, both, 2, bias, 0, gates);
        }
        const Term<S> first = with(input, wx, j, 0), last = with(state, wh, j, 2);
        const Term<S> both[] = {with(input, wx, j, 1), with(state, wh, j, 0)};
        sum(j, 0, 1, M, &first, 1, bias, 0, gates);
        sum(j, 1, 2, M, both, 2, bias, 0, gates);
        sum(j, 3, 1, M, &last, 1, bias, 0, gates);
    }

    void unpacked_sums(long u0, long u1, long M, const Term<S>& input, const Term<S>& state, S* gates) const {
        const Slots& slots = layout.slots;
        for (long u = u0; u < u1; u += V<S>)
            for (long slot = 0; slot < slots.slots; slot++) {
                const long at = layout.place(slot, u), x = slot - slots.x_slot, h = slot - slots.h_slot;
                for (long i = 0; i < M; i++) {
                    Vec<S> sum = load(bias + at);
                    if (x >= 0 && x < slots.gates)
                        sum += inner_products<S>(input.A + i * input.lda, f.w_ih + (slots.x_gate[x] * s.H + u) * s.I, s.I, s.H - u, i == 0);
                    if (h >= 0 && h < slots.gates)
                        sum += inner_products<S>(state.A + i * state.lda, f.w_hh + (slots.h_gate[h] * s.H + u) * layout.Y, layout.Y, s.H - u, i == 0);
                    store(gates + i * layout.ldg + at, sum);
                }
            }
    }

    void activate(const StepForward<S>& e, long M, long u0, long u1) {
        if (s.cell == Cell::lstm) return lstm_forward<S>(e, M, u0, u1);
        if (s.cell == Cell::gru) return gru_forward<S>(e, M, u0, u1);
        if (s.activation == Activation::tanh) return rnn_forward<S, Activation::tanh>(e, M, u0, u1);
        if (s.activation == Activation::relu) return rnn_forward<S, Activation::relu>(e, M, u0, u1);
        rnn_forward<S, Activation::identity>(e, M, u0, u1);
    }

    // h = W_hr (o tanh(c)).
    void project(long M, long first, const Lines<S>& y, int thread, Barrier& barrier) {
        if (!split.by_rows) barrier.wait();
        const Range panels = split.by_rows ? Range{0, wr.panels()} : share(wr.panels(), split.threads, thread);
        if (!panels.size()) return;
        const long ld = round_up(s.P, V<S>), from = panels.begin * NR<S>, to = least(s.P, panels.end * NR<S>);
        S* C = outer + thread * s.B * ld;
        product<S>(M, inner + first * inner_ld, inner_ld, wr, panels.begin, panels.end, nullptr, 0, C, ld);
        for (long i = 0; i < M; i++) copy(y[i] + from, C + i * ld + from, to - from);
    }

    // The state after the last step, of the rows and units that this thread has written itself (with a projection: has waited for).
    void finish(Range mine, Range units) {
        const long Y = layout.Y, u0 = units.begin * NR<S>, u1 = least(s.H, units.end * NR<S>);
        const long y0 = s.P ? 0 : u0, y1 = s.P ? s.P : u1;
        const bool writes_h = !s.P || units.begin == 0;
        for (long b = mine.begin; b < mine.end; b++) {
            const long r = rows.end_of(b);
            const S* h = r == Rows::fresh ? zeros : r == Rows::initial ? f.h0 + b * Y : f.y + rows.at(r) * Y;
            if (writes_h) copy(f.h_end + b * Y + y0, h + y0, y1 - y0);
            if (s.cell != Cell::lstm) continue;
            const S* c = r == Rows::fresh ? zeros : r == Rows::initial || !f.cells ? c0 + b * layout.ldc : f.cells + r * layout.ldc;
            copy(f.c_end + b * s.H + u0, c + u0, u1 - u0);
        }
    }

    const Forward<S>& f;
    const Shape& s;
    const Layout<S> layout;
    const Rows& rows;
    const Partition split;
    const bool unpacked = rows.N <= unpacked_rows;
    // Each step makes its input's products together with its state's, so that the sums never leave the registers; else they are
    // made for many steps at once, which reads W_ih less often.
    const bool at_once = sums_at_once();
    GatePanels<S> wx, wh;
    Packed<S> wr;
    S *bias, *zeros, *c0, *own_gates[2] = {}, *x_rows, *h_rows, *inner, *outer;
    long x_ld, h_ld, inner_ld;
    S** tables;
};

}  // namespace
}  // namespace bptt::BPTT_ISA
