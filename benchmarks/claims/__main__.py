"""What introductions to recurrent networks assert, measured: writes docs/claims.md with a table and a picture each.

    python benchmarks/claims                       all of it, about twenty minutes on two quiet cores
    python benchmarks/claims --only noise gru      some claims; of the others the page keeps what was measured before
    python benchmarks/claims --timed               only what needs a quiet machine (two minutes); --untimed: only the rest
    python benchmarks/claims --only                nothing is measured; the page is written again

What was measured is kept in docs/claims/measured.json; verdicts and pictures are made from that alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # interleave

import evolution
import explosion
import gru
import noise
import reach
import torch
import truncation
import vanishing
from claim import Claim

CLAIMS: dict[str, Claim] = {
    each.CLAIM.name: each.CLAIM for each in (evolution, truncation, reach, explosion, vanishing, gru, noise)
}
PAGE = """# Claims, measured

What every introduction to recurrent networks asserts, and what came out here. Verdicts are computed from the numbers below by
the thresholds that stand in `benchmarks/claims/`: true, conditional (the sentence says on what), or false. Small networks and
problems, on one machine ({machine}): other sizes may give other numbers.

{overview}

{sections}

`make claims` measures all of this and writes this page; `python benchmarks/claims --only NAME` does it for one claim.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(CLAIMS), nargs="*", default=list(CLAIMS))
    parser.add_argument("--timed", action="store_true", help="only what needs a quiet machine")
    parser.add_argument("--untimed", action="store_true", help="only what does not")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="trainings side by side")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    given = parser.parse_args()
    folder: Path = given.out / "claims"
    folder.mkdir(parents=True, exist_ok=True)
    for name in given.only:
        for part, measured in CLAIMS[name].parts.items():
            if (given.timed and not measured.timed) or (given.untimed and measured.timed):
                continue
            begun = time.perf_counter()
            found = measured.measure() if measured.timed else measured.measure(given.jobs)
            keep(folder / "measured.json", name, part, found)
            print(f"{name}: {part}, {time.perf_counter() - begun:.0f} s", flush=True)
    write(given.out, json.loads((folder / "measured.json").read_text()))


def keep(path: Path, name: str, part: str, found: Any) -> None:
    """Adds what one part found to what is kept, in the order of the claims."""
    before = json.loads(path.read_text()) if path.exists() else {"machine": machine(), "claims": {}}
    before["machine"] = machine()
    before["claims"].setdefault(name, {})[part] = _rounded(found)
    before["claims"] = {each: before["claims"][each] for each in CLAIMS if each in before["claims"]}
    path.write_text(json.dumps(before, indent=None, separators=(",", ":")).replace('},"', '},\n"') + "\n")


def _rounded(found: Any) -> Any:
    if isinstance(found, float):
        return float(f"{found:.4g}")
    if isinstance(found, dict):
        return {str(key): _rounded(value) for key, value in found.items()}
    return [_rounded(value) for value in found] if isinstance(found, (list, tuple)) else found


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"


def write(out: Path, kept: dict[str, Any]) -> None:
    """The page, of the claims all parts of which were measured."""
    overview = ["| claim | verdict | what was found |", "|---|---|---|"]
    sections = []
    for name, claim in CLAIMS.items():
        found = kept["claims"].get(name, {})
        if found.keys() != claim.parts.keys():
            continue
        verdict, said = claim.judge(found)
        claim.draw(found, out / "claims" / f"{name}.png")
        overview.append(f"| [{claim.title}](#{anchor(claim.title)}) | {verdict} | {said} |")
        sections.append(
            f"## {claim.title}\n\n> {claim.asserted}\n\n**{verdict.capitalize()}.** {said}\n\n"
            f"![{claim.title}](claims/{name}.png)\n\n{claim.table(found).markdown()}\n\n{claim.how}"
        )
    page = PAGE.format(machine=kept["machine"], overview="\n".join(overview), sections="\n\n".join(sections))
    (out / "claims.md").write_text(page, encoding="utf-8")


def anchor(title: str) -> str:
    """What a heading is called in links to it."""
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c == "-")


if __name__ == "__main__":
    main()
