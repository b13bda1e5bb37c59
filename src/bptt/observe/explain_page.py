"""The explanation as a page: what it begins with, and what it may be changed into; it computes all numbers itself."""

from __future__ import annotations

from typing import Any

from bptt.observe.explain_cells import cells
from bptt.observe.explain_network import draw
from bptt.observe.explained import Explained
from bptt.observe.page import build

SCRIPTS = ("draw.js", "cells.js", "bptt.js", "explain.js", "explain-unfolded.js", "explain-sums.js")


def page_of(of: Explained) -> str:
    """See `Explained.html`."""
    return build("Backpropagation through time", "explain.html", SCRIPTS, ("explain.css",), data_of(of))


def data_of(of: Explained) -> dict[str, Any]:
    """Weights for every cell at this size, the sequence as far as it goes, and the settings to begin with."""
    inputs, outputs = of.x.shape[1], len(of.target[0])
    weights = {name: draw(cell, of.hidden, inputs, 0, outputs) for name, cell in cells.items()} | {of.cell.name: of.weights}
    x, target = of.longer or (of.x, of.target)
    assert of.through.k2 is not None
    return {
        "cell": of.cell.name,
        "cells": {
            name: {"gates": cell.gates, "parts": cell.parts, "equations": cell.equations} for name, cell in cells.items()
        },
        "weights": {name: {key: value.tolist() for key, value in each.items()} for name, each in weights.items()},
        "x": x.tolist(),
        "target": target.tolist(),
        "every": bool(of.counted.all()),
        "steps": of.steps,
        "k1": of.through.k1,
        "k2": of.through.k2,
        "clip": of.clip,
        "rate": of.rate,
    }
