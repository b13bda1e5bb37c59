"""How good transcripts are, by jiwer, beside plain baselines."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.data.features import Floats
from bptt.tasks.interval import interval
from bptt.tasks.report import Report, Table, cell

COMMONEST, NEAREST = "the commonest transcript", "the transcript of the most similar recording"
_CUTS = 12  # equal parts of a recording whose mean loudness in each band is compared


def require() -> None:
    """**Raises** ``ImportError`` naming the extra where jiwer is missing."""
    try:
        import jiwer  # noqa: F401
    except ImportError as error:
        raise ImportError('jiwer is needed to measure transcripts: pip install "bptt[transcribe]"') from error


def errors(wanted: Sequence[str], made: Sequence[str], words: bool = False) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each transcript the fewest characters (or ``words``) changed, left out and put in, and how many were wanted."""
    require()
    import jiwer

    wrong, there = [], []
    for reference, hypothesis in zip(wanted, made, strict=True):
        found: Any = (jiwer.process_words if words else jiwer.process_characters)(reference, hypothesis)
        wrong.append(found.substitutions + found.deletions + found.insertions)
        there.append(found.substitutions + found.deletions + found.hits)
    return np.array(wrong, dtype=np.int64), np.array(there, dtype=np.int64)


def error_rate(wanted: Sequence[str], made: Sequence[str]) -> float:
    """Wrong characters for each that was wanted, over all transcripts; may be above 1, as what is put in counts too."""
    wrong, there = errors(wanted, made)
    return float(wrong.sum() / max(1, there.sum()))


def score(name: str, wanted: Sequence[str], rows: Mapping[str, Sequence[str]]) -> Report:
    """Error rates of characters and words with their intervals, and exact matches, of what each row's ``made`` says.

    The first of ``rows`` is the model. The intervals are of 95 %, from drawing whole recordings again and again.
    """
    measured = {who: _measured(wanted, made) for who, made in rows.items()}
    shown = [
        [who, cell(m["cer"], ".2%"), _between(m["cer_interval"]), cell(m["wer"], ".2%"), _between(m["wer_interval"]),
         cell(m["exact"], ".2%")]
        for who, m in measured.items()
    ]  # fmt: skip
    model, own = next(iter(measured.items()))
    title = f"On {name}, {len(wanted):,} recordings"
    table = Table(title, ["", "CER", "95 % interval", "WER", "95 % interval", "exact"], shown, strong=0)
    better = [who for who, m in measured.items() if m["cer"] < own["cer"]]
    remarks = [f"The model is worse than {better[0]}: train longer, or on more recordings."] if better else []
    figures: dict[str, Any] = {"part": name, "count": len(wanted), "scores": measured, "model": model}
    return Report([table], remarks, figures, {"CER": own["cer"], "WER": own["wer"], "exact": own["exact"]})


def nearest(known: Sequence[Floats], texts: Sequence[str], asked: Sequence[Floats]) -> list[str]:
    """For each recording of frames ``[T, M]`` the transcript of the known one whose loudness over time is most like it."""
    there = np.stack([_outline(frames) for frames in known])
    return [texts[int(np.square(there - _outline(frames)).sum(1).argmin())] for frames in asked]


def _outline(frames: Floats) -> NDArray[np.float64]:
    """Mean of each of some equal parts; and of the whole taken off, so that loudness itself does not count."""
    at = np.linspace(0, len(frames), _CUTS + 1)
    spans = [(int(a), max(int(a) + 1, int(b))) for a, b in itertools.pairwise(at)]
    made = np.array([frames[min(a, len(frames) - 1) : b].mean(0) for a, b in spans], dtype=np.float64)
    flat: NDArray[np.float64] = (made - made.mean()).ravel()
    return flat


def _measured(wanted: Sequence[str], made: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for rate, words in (("cer", False), ("wer", True)):
        wrong, there = errors(wanted, made, words)
        found[rate] = float(wrong.sum() / there.sum()) if there.sum() else float("nan")
        found[f"{rate}_interval"] = list(interval(wrong, there)) if there.all() else [float("nan")] * 2
    found["exact"] = float(np.mean([a == b for a, b in zip(wanted, made, strict=True)]))
    return found


def _between(ends: Sequence[float]) -> str:
    return f"{cell(ends[0], '.2%')} – {cell(ends[1], '.2%')}"
