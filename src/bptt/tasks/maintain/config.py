"""The settings of the maintenance task."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import field_validator

from bptt.tasks.config import TrainingSettings, setting, share_or_file


class MaintainSettings(TrainingSettings):
    """What `MaintainTask` is made from; each field is an option of ``bptt train maintain``."""

    files: ClassVar[frozenset[str]] = TrainingSettings.files | {"data", "valid", "test", "truth"}
    task: ClassVar[str | None] = "maintain"

    data: str = setting(
        ..., "Table with a row for each cycle of each unit, every unit up to its failure; or cmapss, fetched.", "Data"
    )
    unit: str | None = setting(None, "Column that says which unit it is; found where it is called so.", "Data")
    cycle: str | None = setting(None, "Column that counts a unit's cycles; found where it is called so.", "Data")
    sensor: list[str] = setting([], "Column that was measured; repeatable. All others, unless given.", "Data")
    remaining: str | None = setting(None, "Column that says the cycles left, where units did not run to failure.", "Data")
    encoding: str = setting("utf-8", "Encoding of the files.", "Data")
    separator: str | None = setting(None, "What stands between cells; found by itself, unless given.", "Data")
    valid: float | str = setting(0.15, "Share of the units to validate on, or a file of units run to failure.", "Data")
    test: float | str = setting(0.0, "Share of the units to test on, or a file of units.", "Data")
    truth: str | None = setting(None, "File of the cycles left after the last row of each unit of --test.", "Data")
    cap: float = setting(125, "Life beyond which all is as good as new; 0 for none.", "Data", ge=0)

    lead: float = setting(10, "Cycles that an alarm must come before the failure.", "Alarm", ge=0)
    failure: float = setting(100, "Cost of a failure without an alarm, in cycles of life given away.", "Alarm", gt=0)

    cell: Literal["lstm", "gru", "rnn"] = setting("gru", "Recurrent cell.", "Network")
    hidden: int = setting(32, "Units in each recurrent layer.", "Network", ge=1)
    dropout: float = setting(0.2, "Share of activations dropped in training.", "Network", ge=0, lt=1)
    noise: float = setting(0.2, "Noise added to the scaled readings in training.", "Network", ge=0)

    through: str = setting("full", "How gradients travel back: full, truncated:k1=32,k2=128.", "Through time")
    rows: int = setting(8, "Units side by side in a batch.", "Training", ge=1)
    lr: float = setting(5e-3, "Learning rate.", "Training", gt=0)
    epochs: int = setting(40, "Walks over the training part.", "Run", ge=1)

    @field_validator("valid", "test", mode="before")
    @classmethod
    def _share(cls, value: Any) -> Any:
        return share_or_file(value, "the units")
