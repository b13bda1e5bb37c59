"""The summarize task: from settings to a run, and from a run's folder to a model that sums up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from bptt.data.pairs import Names
from bptt.tasks.report import Report
from bptt.tasks.seq2seq.config import Seq2SeqSettings
from bptt.tasks.seq2seq.corpus import Part
from bptt.tasks.seq2seq.task import Seq2SeqTask
from bptt.tasks.seq2seq.trained import TrainedSeq2Seq
from bptt.tasks.summarize.config import SummarizeSettings
from bptt.tasks.summarize.score import require, rouge, score

NAMES = Names(
    source=("text", "article", "document", "content", "body", "story", "source"),
    target=("summary", "headline", "headlines", "title", "highlights", "abstract", "target"),
)


class TrainedSummarize(TrainedSeq2Seq):
    """A trained model that sums up."""

    name: ClassVar[str] = "summarize"
    kind: ClassVar[type[Seq2SeqSettings]] = SummarizeSettings
    names: ClassVar[Names] = NAMES
    heading: ClassVar[str] = "summary"

    def measure(self, name: str, part: Part, written: Sequence[str], train: Part | None) -> Report:  # noqa: ARG002
        return score(name, part, written, self.what.words)


class SummarizeTask(Seq2SeqTask):
    """A model that sums up, about to be trained; see `SummarizeSettings`."""

    name: ClassVar[str] = "summarize"
    names: ClassVar[Names] = NAMES
    opens: ClassVar[type[TrainedSeq2Seq]] = TrainedSummarize
    judged_by: ClassVar[str] = "ROUGE-L"

    def require(self) -> None:
        require()

    def joint(self, settings: Seq2SeqSettings) -> bool:  # noqa: ARG002
        return True

    def quality(self, part: Part, made: list[str]) -> float:
        return float(rouge(made, part.targets)[:, 2].mean())
