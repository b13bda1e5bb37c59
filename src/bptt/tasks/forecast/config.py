"""The settings of the forecast task."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import field_validator, model_validator

from bptt.tasks.config import TrainingSettings, setting


class ForecastSettings(TrainingSettings):
    """What `ForecastTask` is made from; each field is an option of ``bptt train forecast``."""

    files: ClassVar[frozenset[str]] = TrainingSettings.files | {"data", "later"}
    task: ClassVar[str | None] = "forecast"

    data: str = setting(..., "Table to learn from: CSV (also .gz), Parquet; or etth1, m4-hourly, …, fetched.", "Data")
    series: str | None = setting(None, "Column that says which of many series a row belongs to.", "Data")
    wide: bool = setting(False, "A row is a series: its name, then its values.", "Data")
    target: list[str] = setting([], "Column to forecast; repeatable. The only column of numbers, unless given.", "Data")
    past: list[str] = setting([], "Column known up to the present; repeatable.", "Data")
    known: list[str] = setting([], "Column known ahead of time; repeatable.", "Data")
    time: list[str] = setting([], "Column of time stamps (or year, month, …: repeatable); found by itself.", "Data")
    time_format: str | None = setting(None, "How dates are written, as in %d.%m.%Y.", "Data")
    missing: Literal["error", "forward", "interpolate", "mask", "zero"] = setting(
        "error", "What to do with missing values.", "Data"
    )
    gaps: Literal["auto", "fill", "keep", "error"] = setting("auto", "What to do with absent time stamps.", "Data")
    encoding: str = setting("utf-8", "Encoding of the file.", "Data")
    separator: str | None = setting(None, "What stands between cells; found by itself, unless given.", "Data")
    transform: Literal["none", "return", "volatility"] = setting(
        "none", "Of prices: forecast the return 100·ln(yₜ/yₜ₋₁), or its size.", "Data"
    )
    until: int | str | None = setting(None, "Leave out what comes after this row, or after this time.", "Data")
    later: str | None = setting(None, "Table of the rows that follow, to test on, in the place of --test.", "Data")
    valid: float | int | str = setting(0.1, "Rows to validate on: share, number, or duration (6mo); 0 for none.", "Data")
    test: float | int | str = setting(0.2, "Rows at the end to test on: share, number, or duration (2y); 0 for none.", "Data")
    history: int | None = setting(None, "Rows read before each forecast; else by their frequency.", "Data", ge=1)
    horizon: int = setting(1, "Rows forecast at once.", "Data", ge=1)
    stride: int | None = setting(None, "Rows from training window to window; else history / 16.", "Data", ge=1)
    season: list[int] = setting([], "Rows in a season; repeatable. Day, week and year where there are dates.", "Data")
    scale: Literal["standard", "minmax", "log", "none"] = setting(
        "standard", "Scaling, fitted on the training part; log: for what grows in proportion.", "Data"
    )
    calendar: bool = setting(True, "Tell the network the time of day, week and year.", "Data")

    cell: Literal["lstm", "gru", "rnn"] = setting("gru", "Recurrent cell.", "Network")
    hidden: int = setting(32, "Units in each recurrent layer.", "Network", ge=1)
    dropout: float = setting(0.1, "Share of activations dropped in training.", "Network", ge=0, lt=1)
    change: bool = setting(True, "Forecast the change from the present value rather than the value.", "Network")
    norm: Literal["none", "window"] = setting("none", "Units inside: of the table, or of each window so far.", "Network")
    lags: int = setting(0, "Values up to the present that the forecast is also a linear map of; 0: none.", "Network", ge=0)
    apart: bool = setting(False, "Read each target alone, with the same weights for all.", "Network")
    point: Literal["median", "mean"] = setting("median", "What is taken for the forecast.", "Network")
    quantiles: list[float] = setting([0.05, 0.25, 0.5, 0.75, 0.95], "Quantiles forecast; 0.5 among them.", "Network")

    through: str = setting("full", "How gradients travel back: full, truncated:k1=32,k2=128.", "Through time")
    lr: float = setting(3e-3, "Learning rate.", "Training", gt=0)
    epochs: int = setting(12, "Walks over the training part.", "Run", ge=1)

    @field_validator("valid", "test", mode="before")
    @classmethod
    def _amount(cls, value: Any) -> Any:
        if isinstance(value, str):
            for kind in (int, float):
                try:
                    value = kind(value)
                    break
                except ValueError:
                    continue
        if (isinstance(value, float) and not 0 <= value < 1) or (isinstance(value, int) and value < 0):
            raise ValueError(f"expected a share below 1, a number of rows, or a duration such as 2y, got {value}")
        return value

    @field_validator("until", mode="before")
    @classmethod
    def _end(cls, value: Any) -> Any:
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value)
        if isinstance(value, str):
            try:
                datetime.fromisoformat(value)
            except ValueError:
                example = "a time as in 2018-06-30 or 2018-06-30T23:00"
                raise ValueError(f"expected a number of rows, or {example}, got {value!r}") from None
        elif value is not None and value < 1:
            raise ValueError(f"expected at least one row, got {value}")
        return value

    @field_validator("season")
    @classmethod
    def _seasons(cls, value: list[int]) -> list[int]:
        if any(rows < 2 for rows in value) or len(set(value)) < len(value):
            raise ValueError(f"a season has two rows or more, each is given once; got {', '.join(map(str, value))}")
        return value

    @model_validator(mode="after")
    def _fits(self) -> ForecastSettings:
        if self.scale == "log" and self.point == "mean":
            raise ValueError("--point mean would be the mean of logarithms with --scale log: leave out one of them")
        if self.scale == "log" and self.transform != "none":
            raise ValueError(f"--transform {self.transform} takes logarithms itself: leave out --scale log")
        return self

    @field_validator("time", mode="before")
    @classmethod
    def _columns(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value
