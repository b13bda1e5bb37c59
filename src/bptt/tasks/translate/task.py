"""The translate task: from settings to a run, and from a run's folder to a translator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from bptt.data.pairs import Names
from bptt.tasks.report import Report
from bptt.tasks.seq2seq.config import Seq2SeqSettings
from bptt.tasks.seq2seq.corpus import Part
from bptt.tasks.seq2seq.task import Seq2SeqTask
from bptt.tasks.seq2seq.trained import TrainedSeq2Seq
from bptt.tasks.translate.config import TranslateSettings
from bptt.tasks.translate.score import bleu, require, score

NAMES = Names(source=("source", "src", "text", "original"), target=("target", "tgt", "translation", "reference"))


class TrainedTranslate(TrainedSeq2Seq):
    """A trained translator."""

    name: ClassVar[str] = "translate"
    kind: ClassVar[type[Seq2SeqSettings]] = TranslateSettings
    names: ClassVar[Names] = NAMES
    heading: ClassVar[str] = "translation"

    def measure(self, name: str, part: Part, written: Sequence[str], train: Part | None) -> Report:
        return score(name, part, written, train)


class TranslateTask(Seq2SeqTask):
    """A translator about to be trained; see `TranslateSettings`."""

    name: ClassVar[str] = "translate"
    names: ClassVar[Names] = NAMES
    opens: ClassVar[type[TrainedSeq2Seq]] = TrainedTranslate
    judged_by: ClassVar[str] = "BLEU"

    def require(self) -> None:
        require()

    def joint(self, settings: Seq2SeqSettings) -> bool:
        assert isinstance(settings, TranslateSettings)
        return settings.joint or settings.copy_words

    def quality(self, part: Part, made: list[str]) -> float:
        return bleu(made, part.targets)
