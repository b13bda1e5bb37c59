"""The report: what happened to the gradient in a run, as one page that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bptt.observe.flow import Flow
from bptt.observe.page import build, save
from bptt.observe.profile import Array
from bptt.observe.report_data import clipping, curves_of, flow_of, observed_of
from bptt.observe.report_units import spectra_of, units_of
from bptt.observe.spectrum import Spectrum
from bptt.observe.units import Units
from bptt.through import Strategy

_SCRIPTS = ("draw.js", "report-parts.js", "report-flow.js", "report-units.js", "report.js")


@dataclass(frozen=True)
class Report:
    """What is known of a run; a part that is ``None`` is missing on the page, which says why if ``missing`` does.

    - ``title``; ``facts``: pairs of a heading and a text.
    - ``log``: lines as `bptt.train.read_log` gives them (``update``, ``loss``, ``grad_norm``, ``validation``). ``clip``: the
      greatest norm that the run allowed; ``unit`` of the loss.
    - ``observed``: lines of ``observe.jsonl``, as ``Run(..., observe=every(200))`` writes them.
    - ``flow``: `gradient_flow`; ``spectra`` and ``units``: what the instruments of the same names found.
    - ``through``: the run's strategy, drawn on the contributions and the profile.
    - ``missing``: by part (``"log"``, ``"flow"``, ``"spectra"``, ``"units"``), why it is not there.
    """

    title: str
    facts: Sequence[tuple[str, str]] = ()
    log: Sequence[Mapping[str, Any]] = ()
    observed: Sequence[Mapping[str, Any]] = ()
    clip: float | None = None
    unit: str = ""
    through: Strategy | None = None
    flow: Flow | None = None
    spectra: Spectrum | Array | None = None
    units: Units | None = None
    advice: Sequence[str] = ()
    missing: Mapping[str, str] = field(default_factory=dict)

    def html(self) -> str:
        """The page."""
        curves = curves_of(self.log, self.clip)
        data = {
            "title": self.title,
            "facts": [list(fact) for fact in self.facts],
            "missing": dict(self.missing),
            "advice": list(dict.fromkeys([*(self.flow.advice if self.flow else ()), *clipping(curves), *self.advice])),
            "through": None if self.through is None else str(self.through),
            "unit": self.unit,
            "curves": curves,
            "observed": observed_of(self.observed),
            "flow": None if self.flow is None else flow_of(self.flow, self.through),
            "spectra": None if self.spectra is None else spectra_of(self.spectra),
            "units": None if self.units is None else units_of(self.units),
        }
        return build(self.title, "report.html", _SCRIPTS, ("report.css",), data)

    def save_html(self, path: str | Path) -> Path:
        """Writes `html` to ``path``, and gives the path."""
        return save(self.html(), path)


def flow_page(flow: Flow) -> str:
    """The page of one `gradient_flow` alone, with what the strategy that it was told of loses."""
    facts = [("looked at", f"{flow.steps} steps of {flow.rows} rows")]
    return Report(f"The gradient of {flow.model}", facts, flow=flow, through=flow.through).html()
