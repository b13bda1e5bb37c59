"""``bptt explain``: backpropagation through time, step by step, on a network small enough to read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bptt.cli.say import examples

EXAMPLES = examples(
    ("bptt explain", "a plain network of two units over four steps, with every number"),
    ("bptt explain --html explain.html", "the same as a page where everything can be moved"),
    (
        "bptt explain --cell lstm --hidden 1 --steps 5 --through truncated:k1=1,k2=3",
        "an LSTM, and what a truncation leaves out",
    ),
    ("bptt explain --weights mine.safetensors --data mine.csv", "a network and a sequence of your own"),
)


def explain(
    cell: Annotated[str, typer.Option(help="rnn (tanh), relu, linear, gru or lstm.")] = "rnn",
    hidden: Annotated[int | None, typer.Option(help="Units, 1 to 4; 2 unless given.", show_default=False)] = None,
    inputs: Annotated[int | None, typer.Option(help="Inputs a step, 1 to 3; 1 unless given.", show_default=False)] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Steps, 1 to 12, 4 unless given; the page can be drawn out to 60.", show_default=False),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="State dict of your own network, as safetensors: one RNN, GRU or LSTM and a linear readout.",
            show_default=False,
            metavar="FILE",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Your own sequence, as CSV: a line for each step, the inputs and then the targets.",
            show_default=False,
            metavar="FILE",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other weights and another sequence.")] = 0,
    loss: Annotated[str, typer.Option(help="every: a loss at every step; last: at the last one only.")] = "every",
    through: Annotated[str, typer.Option(help="The truncation to hold beside the full gradient.")] = "truncated:k1=2,k2=2",
    clip: Annotated[
        float,
        typer.Option(
            help="The norm that gradients are clipped to, and ten times the limit at each step, to see what they change."
        ),
    ] = 0.25,
    rate: Annotated[float, typer.Option(help="Rate of the update.")] = 0.1,
    text: Annotated[bool, typer.Option("--text", help="Print it, also where a page is written.")] = False,
    html: Annotated[
        Path | None, typer.Option(help="Page to write: one file, which needs no network.", show_default=False, metavar="FILE")
    ] = None,
) -> None:
    """See backpropagation through time at work, step by step, with every number."""
    import sys

    from bptt.cli.files import check_writable, write
    from bptt.observe import explain as explained
    from bptt.observe.explain_files import network_from, sequence_from
    from bptt.through import Truncated, parse

    strategy = parse(through)
    if not isinstance(strategy, Truncated):
        raise ValueError(f"--through must be a truncation, which is held beside the full gradient; got {through}")
    if html is not None:
        check_writable(html, "--html")
    if loss not in ("every", "last"):
        raise ValueError(f"--loss must be every or last, got {loss!r}")
    told = {"hidden": (hidden, weights, "weights"), "inputs": (inputs, weights, "weights"), "steps": (steps, data, "data")}
    for name, (value, file, by) in told.items():
        if value is not None and file is not None:
            raise ValueError(f"--{name} is told by --{by} {file}: leave it out")
    sizes = {"hidden": 2 if hidden is None else hidden, "inputs": 1 if inputs is None else inputs}
    network: Any
    network, readout = (cell, None) if weights is None else network_from(weights, cell)
    x = target = None
    if data is not None:
        of_layer = sizes["inputs"] if readout is None else network.input_size
        x, target = sequence_from(data, of_layer, 1 if readout is None else readout.out_features)
    made = explained(
        network, readout, **sizes, steps=4 if steps is None else steps, seed=seed, x=x, target=target,
        loss="every" if loss == "every" else "last", through=strategy, clip=clip, rate=rate,
    )  # fmt: skip
    if html is not None:
        write(html, made.html())
        print(f"page     {html}", file=sys.stderr)
    if text or html is None:
        sys.stdout.write(made.text(colour=sys.stdout.isatty()))
