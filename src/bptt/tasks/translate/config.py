"""The settings of the translate task."""

from __future__ import annotations

from typing import ClassVar

from bptt.tasks.config import setting
from bptt.tasks.seq2seq.config import Seq2SeqSettings


class TranslateSettings(Seq2SeqSettings):
    """What `TranslateTask` is made from; each field is an option of ``bptt train translate``."""

    task: ClassVar[str | None] = "translate"

    data: str = setting(..., "Texts to learn from: a text a line, or a table with both languages; or multi30k.", "Data")
    joint: bool = setting(False, "One vocabulary for both languages.", "Data")
