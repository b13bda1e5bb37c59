"""The explanation for a terminal: the network unfolded, its numbers forward, the error backward, the gradient, the update."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from rich import box
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from bptt.observe.explain_cells import Array
from bptt.observe.explain_variants import variants
from bptt.observe.explained import Explained, length

_BLOCK = 5  # steps side by side on 80 columns


def as_text(of: Explained, width: int = 80, colour: bool = False) -> str:
    """See `Explained.text`."""
    out = Console(
        file=io.StringIO(), width=width, force_terminal=colour, color_system="standard" if colour else None,
        highlight=False, legacy_windows=False,
    )  # fmt: skip
    for part in (_network, _unfolded, _forward, _backward, _contributions, _gradient, _changes):
        part(of, out)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def number(value: float) -> str:
    """Four decimals, or a power of ten where these would hide it."""
    if value == 0 or (1e-3 <= abs(value) < 1e4):
        return f"{value:.4f}"
    return f"{value:.1e}"


def _network(of: Explained, out: Console) -> None:
    _head(out, 1, "The network")
    for line in (
        *of.cell.equations,
        f"y_t = W_hy h_t{' + b_y' if 'b_y' in of.weights else ''}",
        "E   = Σ_t E_t,  E_t = ½ Σ (y_t - target_t)²",
    ):
        out.print(f"  {line}", markup=False)
    out.print()
    gates = [gate for gate in of.cell.gates for _ in range(of.hidden)]
    names = ["W_xh", "W_hh", "b_h"]
    table = _table("", *(f"{name}{'' if name == 'b_h' else ' ' + str(list(of.weights[name].shape))}" for name in names))
    for row, gate in enumerate(gates):
        unit = f"{gate or 'unit'} {row % of.hidden + 1}"
        table.add_row(unit, *(_vector(np.atleast_1d(of.weights[name][row]), 2) for name in names))
    out.print(table)
    rest = [name for name in of.weights if name not in names]
    out.print("  " + "   ".join(f"{name} = {_vector(of.weights[name].ravel(), 2)}" for name in rest), markup=False)


def _unfolded(of: Explained, out: Console) -> None:
    _head(out, 2, "Unfolded over time, with its numbers")
    for start in range(0, of.steps, _BLOCK):
        columns = range(start, min(of.steps, start + _BLOCK))
        outputs = range(of.y.shape[1])
        _picture(out, "loss", [f"E_{t + 1} {number(of.losses[t])}" if of.counted[t] else "" for t in columns], "yellow")
        _picture(out, "", ["↑" if of.counted[t] else "" for t in columns])
        for row in outputs:
            _picture(out, "target" if not row else "", [number(of.target[t, row]) for t in columns], "dim")
            _picture(out, "output y" if not row else "", [number(of.y[t, row]) for t in columns])
        _picture(out, "", ["↑ W_hy" for _ in columns])
        for row, label in enumerate(_parts(of)):
            cells = [number(of.states[t + 1, row]) for t in columns]
            arrow = "→" if row == 0 else " "
            _picture(out, f"state {label}", [f"{arrow} {cell}" for cell in cells], "cyan")
        _picture(out, "", ["↑ W_xh" for _ in columns])
        for row in range(of.x.shape[1]):
            _picture(out, "input x" if not row else "", [number(of.x[t, row]) for t in columns])
        _picture(out, "step", [f"t = {t + 1}" for t in columns], "dim")
        out.print()
    _say(out, f"→ stands for W_hh. s_0 = 0. The loss of all steps is E = {number(of.loss)}.")


def _forward(of: Explained, out: Console) -> None:
    _head(out, 3, "Forward: what each step computes")
    names = list(of.traces[0])
    table = _table("t", *names, *of.cell.parts)
    for t in range(of.steps):
        state = np.split(of.states[t + 1], len(of.cell.parts))
        table.add_row(str(t + 1), *(_vector(of.traces[t][name]) for name in names), *map(_vector, state))
    out.print(table)
    if of.cell.gates == ("",):
        _say(out, f"a = W_xh x_t + W_hh h_(t-1) + b_h. In full, unit 1 at t = {of.steps}:")
        t, w = of.steps - 1, of.weights
        terms = [f"{w['W_xh'][0, i]:.2f}·{number(of.x[t, i])}" for i in range(of.x.shape[1])]
        terms += [f"{w['W_hh'][0, j]:.2f}·{number(of.states[t, j])}" for j in range(of.hidden)]
        total = number(float(of.traces[t]["a"][0]))
        _say(out, f"  {' + '.join(terms)} + {w['b_h'][0]:.2f} = {total}, and h1 = {number(of.states[t + 1, 0])}.")


def _backward(of: Explained, out: Console) -> None:
    _head(out, 4, "Backward: the error δ_k = dE/ds_k travels back, step by step")
    _say(
        out,
        "δ_k = q_k + J_{k+1}ᵀ δ_{k+1}: what the step's own loss says, q_k = ∂⁺E_k/∂s_k, and what comes back from the step "
        "after it; J_k = ∂s_k/∂s_{k-1}. ‖J_k‖, its largest singular value, is the most by which a step can stretch an error: "
        "even above 1 an error may shrink.",
    )
    table = _table("k", "q_k", "J_{k+1}ᵀ δ_{k+1}", "δ_k", "‖δ_k‖", "‖J_k‖")
    for k in reversed(range(of.steps)):
        came = _vector(of.errors[k] - of.own[k]) if k + 1 < of.steps else "-"
        norms = number(float(np.linalg.norm(of.errors[k]))), number(float(np.linalg.norm(of.jacobians[k], 2)))
        table.add_row(str(k + 1), _vector(of.own[k]), came, _vector(of.errors[k]), *norms)
    out.print(table)
    last = np.linalg.norm(of.back[-1], axis=1)
    most = float(last.max())
    out.print(f"How far the last loss reaches: ‖dE_{of.steps}/ds_k‖", markup=False)
    for k in reversed(range(of.steps)):
        bar = "█" * round(40 * float(last[k]) / most) if most else ""
        out.print(Text.assemble(f"  k = {k + 1:<2} ", (f"{bar or '·':<40}", "cyan"), f" {number(float(last[k])):>9}"))
    if of.steps > 1 and last[-1]:
        rate = float((last[0] / last[-1]) ** (1 / (of.steps - 1)))
        verdict = "it dies" if rate < 0.9 else "it blows up" if rate > 1.1 else "it lasts"
        out.print(f"  ×{rate:.3f} a step on average: {verdict}. After 50 such steps: ×{rate**50:.1e}")


def _contributions(of: Explained, out: Console) -> None:
    assert of.through.k2 is not None
    _head(out, 5, "The contributions: ‖C[t,k]‖, loss of step t through the weights at step k")
    kept, norms = of.kept(), of.norms
    for start in range(0, of.steps, 6):
        columns = range(start, min(start + 6, of.steps))
        table = _table("t", *(f"k={k + 1}" for k in columns))
        for t in range(of.steps):
            cells = ["" if k > t else f"{number(norms[t, k])} " if kept[t, k] else f"({number(norms[t, k])})" for k in columns]
            if any(cells):
                table.add_row(str(t + 1), *cells)
        out.print(table)
    share = length({name: of.truncated()[name] - of.gradient[name] for name in of.weights}) / (length(of.gradient) or 1)
    _say(
        out,
        "On the diagonal: explicit, the weights at the step of the loss. Below it: implicit, through the state. (In "
        f"brackets): what Truncated(k1={of.through.k1}, k2={of.through.k2}) leaves out, which puts its gradient "
        f"{share:.1%} off the full one.",
    )


def _gradient(of: Explained, out: Console) -> None:
    _head(out, 6, "The gradient, and the update W ← W - rate · dE/dW")
    explicit, implicit, gradient, after = of.explicit, of.implicit, of.gradient, of.updated()
    table = _table("weight", "explicit", "+ implicit", "= dE/dW", "W", "→ W")
    for name in of.weights:
        for place in np.ndindex(of.weights[name].shape):
            label = f"{name}[{','.join(str(i + 1) for i in place)}]"
            parts = (explicit, implicit, gradient, of.weights, after)
            table.add_row(label, *(number(float(part[name][place])) for part in parts), end_section=False)
        table.add_section()
    out.print(table)
    old, new = of.loss, of.again(weights=after).loss
    norm = length(gradient)
    _say(
        out,
        f"‖dE/dW‖ = {number(norm)}; rate {of.rate:g}. The loss goes from {number(old)} to {number(new)}. W_hy meets no time: "
        "all of its gradient is explicit.",
    )


def _changes(of: Explained, out: Console) -> None:
    _head(out, 7, "What would change")
    table = _table("with", "‖g‖", "off", "loss", "after", "reach")
    for each in variants(of):
        off = "" if each.off is None else f"{each.off:.1%}"
        table.add_row(each.name, number(each.norm), off, number(each.before), number(each.after), f"{each.reach:.2%}")
    out.print(table)
    _say(out, "off: ‖g' - g‖/‖g‖ against the full gradient of the same network. after: the loss after one update with it.")
    _say(out, f"reach: of the error that E_{of.steps} makes at its own step, what is left at the first.")
    _say(out, "These are numbers of one sequence and one draw of weights: try others, --seed N.")


def _head(out: Console, count: int, title: str) -> None:
    out.print()
    out.print(Rule(Text(f"{count}  {title}", style="bold"), align="left", style="dim"))


def _say(out: Console, text: str) -> None:
    out.print(text, markup=False)


def _table(*columns: str) -> Table:
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1), header_style="bold")
    for position, column in enumerate(columns):
        made.add_column(column, justify="right" if position else "left", no_wrap=bool(position == 0))
    return made


def _picture(out: Console, label: str, columns: Sequence[str], style: str = "") -> None:
    line = Text(f"{label:<10}")
    for column in columns:
        line.append(f"{column:>13}", style=style)
    out.print(line)


def _parts(of: Explained) -> list[str]:
    """A name for every element of the state."""
    return [f"{part}{unit + 1}" for part in of.cell.parts for unit in range(of.hidden)]


def _vector(values: Array, decimals: int = 4) -> str:
    return " ".join(f"{value:.{decimals}f}" if decimals < 4 else number(float(value)) for value in values)
