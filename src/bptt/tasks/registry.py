"""The table of tasks. Its entries are names, imported when asked for, so that a list of tasks costs nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from bptt.nearest import nearest
from bptt.tasks.config import option

if TYPE_CHECKING:
    from bptt.tasks.config import Settings
    from bptt.tasks.task import Task


@dataclass(frozen=True)
class Entry:
    """One task: what it does in a line, commands that show it, and where its settings and its class live."""

    name: str
    summary: str
    examples: tuple[tuple[str, str], ...]
    settings: str
    task: str
    evaluate: tuple[str, ...] = ("data", "part")
    """The options of ``bptt evaluate`` that mean something to its runs."""
    predict: tuple[str, ...] = ()
    """Likewise of ``bptt predict``; none where the command itself means nothing."""
    generate: bool = False
    """Whether ``bptt generate`` serves its runs."""
    seeds: bool = False
    """Whether ``bptt train --seeds`` does: its reports have a headline."""

    def load_settings(self) -> type[Settings]:
        """The class of its settings, which imports no torch of its own."""
        found: type[Settings] = _named(self.settings)
        return found

    def load_task(self) -> type[Task]:
        """The class that trains, loads and scores it."""
        found: type[Task] = _named(self.task)
        return found


_READING = ("encoding", "separator", "time_format", "missing", "gaps")
_COLUMNS = ("text_column", "label_column")
_PAIRS = ("encoding", "separator", "text_column", "target_column")

tasks: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            name="text",
            summary="Learn to write like a text: predict each next character, byte, word or sub-word.",
            examples=(
                ("bptt train text --data input.txt", "a character model with sensible settings"),
                ("bptt train text --data input.txt --minutes 2 --hidden 256", "smaller, and no longer than two minutes"),
                ("bptt train text --data input.txt --through truncated:k1=32,k2=128", "reach further back than each window"),
                ("bptt train text --out runs/text-input", "go on with a run that was stopped"),
            ),
            settings="bptt.tasks.text.config:TextSettings",
            task="bptt.tasks.text.task:TextTask",
            evaluate=("data", "part", "rows", "encoding", "text_column"),
            predict=("follow",),
            generate=True,
        ),
        Entry(
            name="forecast",
            summary="Learn to continue a table of measurements: predict its next rows, with intervals.",
            examples=(
                ("bptt train forecast --data temperatures.csv", "one step ahead; columns found by themselves"),
                ("bptt train forecast --data load.csv --target load --horizon 24", "the next 24 rows of one column"),
                ("bptt train forecast --data temperatures.csv --test 2y", "the last two years held out as test"),
                ("bptt train forecast --data sales.csv --series shop --target sold", "many series by one network"),
                ("bptt train forecast --out runs/forecast-load", "go on with a run that was stopped"),
            ),
            settings="bptt.tasks.forecast.config:ForecastSettings",
            task="bptt.tasks.forecast.task:ForecastTask",
            evaluate=("data", "part", *_READING),
            predict=("data", "plot", "follow", *_READING),
            seeds=True,
        ),
        Entry(
            name="classify",
            summary="Learn to label texts: sentiment, topic, spam; see which words carried each label.",
            examples=(
                ("bptt train classify --data reviews.tsv", "columns and labels found by themselves; a tenth held out"),
                ("bptt train classify --data train.tsv --valid dev.tsv --test test.tsv", "parts in files of their own"),
                ("bptt train classify --data mail.csv --text-column body --label-column spam", "columns by their names"),
                ("bptt train classify --out runs/classify-reviews", "go on with a run that was stopped"),
            ),
            settings="bptt.tasks.classify.config:ClassifySettings",
            task="bptt.tasks.classify.task:ClassifyTask",
            evaluate=("data", "part", "encoding", "separator", *_COLUMNS),
            predict=("data", "text", "words", "page", "encoding", "separator", "text_column"),
            seeds=True,
        ),
        Entry(
            name="translate",
            summary="Learn to translate from pairs of texts; see where it looked while writing each word.",
            examples=(
                ("bptt train translate --data train.en --target train.de", "two files, line by line; a twentieth held out"),
                ("bptt train translate --data pairs.tsv --text-column en --target-column de", "two columns of a table"),
                ("bptt train translate --data multi30k", "29,000 captions, English to German, fetched once"),
                ("bptt train translate --out runs/translate-train", "go on with a run that was stopped"),
            ),
            settings="bptt.tasks.translate.config:TranslateSettings",
            task="bptt.tasks.translate.task:TranslateTask",
            evaluate=("data", "target", "part", "beam", *_PAIRS),
            predict=("data", "text", "plot", "beam", "encoding", "separator", "text_column"),
            seeds=True,
        ),
        Entry(
            name="summarize",
            summary="Learn to sum up texts, copying their words where need be: headlines, abstracts.",
            examples=(
                ("bptt train summarize --data news.csv", "columns found by themselves; two tenths held out"),
                ("bptt train summarize --data a.csv --text-column body --target-column title", "columns by their names"),
                ("bptt train summarize --data news-summary --no-copy-words", "the same network without copying"),
                ("bptt train summarize --out runs/summarize-news", "go on with a run that was stopped"),
            ),
            settings="bptt.tasks.summarize.config:SummarizeSettings",
            task="bptt.tasks.summarize.task:SummarizeTask",
            evaluate=("data", "target", "part", "beam", *_PAIRS),
            predict=("data", "text", "plot", "beam", "encoding", "separator", "text_column"),
            seeds=True,
        ),
        Entry(
            name="transcribe",
            summary="Learn to write down speech from recordings and their transcripts.",
            examples=(
                ("bptt train transcribe --data manifest.csv", "files and transcripts; columns found by themselves"),
                ("bptt train transcribe --data recordings/ --rate 16000", "each with a .txt of the same name beside it"),
                ("bptt train transcribe --data digits/ --names '{transcript}_{speaker}_{index}'", "told by the files' names"),
                ("bptt train transcribe --data fsdd", "3,000 spoken digits, fetched once"),
                ("bptt train transcribe --out runs/transcribe-manifest", "go on with a run that was stopped"),
            ),
            settings="bptt.tasks.transcribe.config:TranscribeSettings",
            task="bptt.tasks.transcribe.task:TranscribeTask",
            evaluate=("data", "part", "beam", "language", "encoding", "separator", "text_column"),
            predict=("data", "plot", "beam", "language", "encoding", "separator"),
            seeds=True,
        ),
        Entry(
            name="sequence",
            summary="Learn sequences of sets, such as chords: predict which labels come next.",
            examples=(
                ("bptt train sequence --data chorales.jsonl", "lines as [[60, 64], [62], []]; held-out parts drawn"),
                ("bptt train sequence --data JSB_Chorales.mat --cell gru", "published parts, another cell"),
                ("bptt train sequence --out runs/sequence-chorales", "go on with a run that was stopped"),
            ),
            settings="bptt.tasks.sequence.config:SequenceSettings",
            task="bptt.tasks.sequence.task:SequenceTask",
            predict=("data", "follow"),
        ),
        Entry(
            name="maintain",
            summary="Learn how long machines go on: predict the life that is left, and when to raise the alarm.",
            examples=(
                ("bptt train maintain --data engines.csv", "a row for each cycle of each unit, up to its failure"),
                ("bptt train maintain --data train_FD001.txt --test test_FD001.txt --truth RUL_FD001.txt", "NASA's engines"),
                ("bptt train maintain --data pumps.csv --unit pump --cycle day --cap 60", "columns by their names"),
            ),
            settings="bptt.tasks.maintain.config:MaintainSettings",
            task="bptt.tasks.maintain.task:MaintainTask",
            predict=("data", "alarm", "follow"),
            seeds=True,
        ),
    )
}


def entry(name: str) -> Entry:
    """The task of that name; **raises** ``ValueError`` listing those that exist."""
    if name not in tasks:
        raise ValueError(f"no task is called {name!r}{nearest(name, tasks)}: one of {', '.join(tasks)}")
    return tasks[name]


def check_options(command: str, name: str, given: Iterable[str]) -> None:
    """Refuses options that mean nothing to a run of task ``name``, and those that say how to read a file that is not given.

    **Raises** ``ValueError`` naming the tasks where they do apply.
    """
    given = list(given)
    for key in given:
        serving = [task.name for task in tasks.values() if key in getattr(task, command)]
        if name not in serving:
            raise ValueError(
                f"{option(key)} means nothing for a run of task {name!r}: bptt {command} takes it for {', '.join(serving)}"
            )
    reading = [key for key in given if key in (*_READING, *_COLUMNS, *_PAIRS)]
    if reading and "data" not in given:
        raise ValueError(f"{option(reading[0])} says how the file of --data is read: give --data FILE, or leave it out")


def _named(where: str) -> type:
    module, _, name = where.partition(":")
    found: type = getattr(import_module(module), name)
    return found
