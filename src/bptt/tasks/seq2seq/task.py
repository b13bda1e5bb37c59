"""Tasks from one text to another: from settings to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from bptt.data.bytokens import ByTokens
from bptt.data.pairs import Names
from bptt.tasks import curves
from bptt.tasks.config import TrainingSettings, option
from bptt.tasks.report import Report
from bptt.tasks.seq2seq.config import Seq2SeqSettings
from bptt.tasks.seq2seq.corpus import Part, read_corpus
from bptt.tasks.seq2seq.fitted import Fitted
from bptt.tasks.seq2seq.loss import Seq2SeqLoss
from bptt.tasks.seq2seq.model import Seq2SeqModel
from bptt.tasks.seq2seq.trained import ARTIFACT, TrainedSeq2Seq, beam_of, make_model, written
from bptt.tasks.task import Task, Which, begins_from, built, following, parameters, restored, settings_in
from bptt.through import parse
from bptt.through.online import ForwardInTime

_KEPT = ("unit", "vocabulary", "lower", "longest", "copy_words")


class Seq2SeqTask(Task):
    """A model from one text to another about to be trained; see `Seq2SeqSettings`."""

    artifact: ClassVar[str] = ARTIFACT
    names: ClassVar[Names]
    opens: ClassVar[type[TrainedSeq2Seq]]
    settings: Seq2SeqSettings
    model: Seq2SeqModel
    source: ByTokens

    def __init__(self, settings: TrainingSettings, folder: Path | None = None) -> None:
        if not isinstance(settings, self.opens.kind):
            raise TypeError(f"the {self.name} task takes {self.opens.kind.__name__}, got {type(settings).__name__}")
        self.require()
        _check_through(settings)
        first = None
        start = begins_from(settings, folder)
        if folder is not None and (folder / self.artifact).exists():
            first = restored(folder, self.artifact, Fitted.from_json)
        elif start is not None:
            before = settings_in(start, self.name, self.opens.kind)
            settings = following(settings, start, {key: getattr(before, key) for key in _KEPT})
            first = restored(start, self.artifact, Fitted.from_json)
        self.corpus = read_corpus(settings, self.names)
        self.what = first or Fitted.fit(self.corpus, settings, self.joint(settings))
        train, valid, test = self.corpus.train, self.corpus.valid, self.corpus.test
        self.source = self.what.batches(train, settings.rows, settings.tokens, shuffle=True, seed=settings.seed)
        self.validation = self.what.batches(valid, settings.rows, settings.tokens) if len(valid) else None
        if self.validation is None and "patience" not in settings.model_fields_set:
            settings = settings.model_copy(update={"patience": None})  # there is nothing to wait for
        self.test = self.what.batches(test, settings.rows, settings.tokens).fingerprint() if len(test) else None
        self.settings = settings
        self.model = built(lambda: make_model(settings, self.what), settings, folder)
        self.loss = Seq2SeqLoss(self.model, settings.smoothing)

    def require(self) -> None:
        """**Raises** ``ImportError`` naming the extra where what measures the answers is missing."""

    def joint(self, settings: Seq2SeqSettings) -> bool:
        """Whether both texts have one vocabulary."""
        return settings.copy_words

    def quality(self, part: Part, made: list[str]) -> float:
        """The figure that chooses the best weights, of what was ``made`` for the texts of a part."""
        raise NotImplementedError

    def metrics(self, model: nn.Module) -> dict[str, float]:
        """`quality` on the validation part, each token the likeliest after those before it."""
        assert isinstance(model, Seq2SeqModel)
        assert self.judged_by is not None
        found = written(model, self.what, self.corpus.valid.sources, beam_of(self.settings, 1))
        return {self.judged_by: self.quality(self.corpus.valid, [each.text for each in found])}

    def describe(self) -> list[tuple[str, str]]:
        given, corpus, what = self.settings, self.corpus, self.what
        sizes = " + ".join(
            f"{len(part):,} {name}"
            for part, name in ((corpus.train, "to learn from"), (corpus.valid, "validation"), (corpus.test, "test"))
            if len(part)
        )
        examples = self.source.examples
        cut = sum(not what.source.whole(text) for text in corpus.train.sources)
        read = f"; of {cut:,} longer ones the first {what.source.longest:,} ({option('longest')})" if cut else ""
        left = len(corpus.train) - len(examples)
        out = f"; {left:,} whose target has more than {what.target.longest} are left out" if left else ""
        where = f", columns {corpus.text_column!r} and {corpus.target_column!r}" if corpus.text_column else ""
        one = "one vocabulary of" if what.source is what.target else f"vocabularies of {what.source.size:,} and"
        copying = ", copying" if given.copy_words else ""
        return [
            ("data", f"{given.data}{f' and {given.target}' if given.target else ''}{where}: {sizes} pairs"),
            ("texts", f"{examples.widths.mean():.0f} tokens on average, {int(examples.widths.max())} at most{read}; targets "
                      f"{examples.lengths.mean():.0f}, {int(examples.lengths.max())} at most{out}; {one} "
                      f"{what.target.size:,} {what.target.unit}s"),
            *(("", note) for note in corpus.notes),
            (
                "model",
                f"bi{given.cell.upper()} {given.layers}×{given.hidden // 2} read, {given.cell.upper()} "
                f"{1 + given.layers}×{given.hidden} write with attention{copying}; embedding {given.embed}, dropout "
                f"{given.dropout:g}: {parameters(self.model):,} parameters",
            ),
            ("training", f"{given.through}; {given.tokens} tokens a batch; {given.optimizer}, lr {given.lr:g}, "
                         f"{given.schedule}"),
        ]  # fmt: skip

    def fitted(self) -> dict[str, Any]:
        return self.what.to_json()

    @classmethod
    def open(cls, folder: Path, which: Which = None) -> TrainedSeq2Seq:
        return cls.opens(folder, which)

    def pictures(self, folder: Path, report: Report) -> list[Path]:  # noqa: ARG002
        return curves.draw(folder, "nats per token")

    def next_commands(self, folder: Path) -> list[str]:
        return [
            f"bptt predict {folder} --text 'a text of yours' --plot looked.png",
            f"bptt predict {folder} --data new.txt --out answers.csv",
            f"bptt evaluate {folder}",
            self.longer(folder),
        ]


def _check_through(settings: Seq2SeqSettings) -> None:
    if isinstance(parse(settings.through), ForwardInTime):
        raise ValueError(
            f"--through {settings.through} carries the error forward through one recurrent layer, and an encoder-decoder has "
            "several, with attention between them: full, truncated, checkpointed, randomized or adaptive train it"
        )
