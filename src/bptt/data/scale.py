"""Scaling of columns, fitted on the training part alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

KINDS = ("standard", "minmax", "log", "none")


@dataclass(frozen=True)
class Scaler:
    """``(value - center) / scale``, column by column ``[C]``.

    "standard": mean and standard deviation; "minmax": onto 0..1; "none": as it is. A constant column is only centred.
    "log": the logarithm less its mean, for what grows in proportion, of the first ``logs`` columns; others as "standard".
    Fit it on the rows that are trained on and on nothing else: `Scaler.fit(table.values[a:b])`.
    """

    kind: str
    center: tuple[float, ...]
    scale: tuple[float, ...]
    logs: int = 0

    @classmethod
    def fit(
        cls, values: ArrayLike, kind: str = "standard", columns: Sequence[str] | None = None, logs: int | None = None
    ) -> Scaler:
        """Fit on ``values [T, C]``, leaving out NaN; ``logs``: all columns, unless given.

        Raises ValueError for an unknown kind, a column without values, and numbers not above zero under "log".
        """
        array = np.asarray(values, dtype=np.float64)
        if kind not in KINDS:
            raise ValueError(f"there is no scaling {kind!r}; choose one of {', '.join(KINDS)}")
        if array.ndim != 2:
            raise ValueError(f"values have the shape {list(array.shape)}; expected [T, C]")
        there = np.isfinite(array)
        if not there.any(axis=0).all():
            c = int(np.argmin(there.any(axis=0)))
            name = repr(columns[c]) if columns is not None else str(c)
            raise ValueError(f"column {name} has no value in the {len(array)} rows that the scaling is fitted on")
        if kind == "none":
            return cls(kind, (0.0,) * array.shape[1], (1.0,) * array.shape[1])
        taken = 0 if kind != "log" else array.shape[1] if logs is None else logs
        kept = _logarithms(np.where(there, array, np.nan), taken)
        if kind == "log":
            scale = np.concatenate([np.ones(taken), np.nanstd(kept[:, taken:], axis=0)])
            center = np.nanmean(kept, axis=0)
            scale = np.where(scale <= 1e-12 * np.abs(center), 1.0, scale)
            return cls(kind, tuple(center.tolist()), tuple(scale.tolist()), taken)
        center = np.nanmean(kept, axis=0) if kind == "standard" else np.nanmin(kept, axis=0)
        scale = np.nanstd(kept, axis=0) if kind == "standard" else np.nanmax(kept, axis=0) - center
        # the standard deviation of a constant is rounding, not zero
        scale = np.where(scale <= 1e-12 * np.abs(center), 1.0, scale)
        return cls(kind, tuple(center.tolist()), tuple(scale.tolist()))

    def transform(self, values: ArrayLike) -> NDArray[np.float64]:
        """Scaled values ``[..., C]``; NaN stays NaN."""
        array = _logarithms(self._checked(values, len(self.center)), self.logs)
        return np.asarray((array - np.asarray(self.center)) / np.asarray(self.scale))

    def inverse(self, values: ArrayLike, columns: slice = slice(None)) -> NDArray[np.float64]:
        """Values ``[..., C]`` in their own units again; ``columns`` says which of the fitted columns they are."""
        center, scale = np.asarray(self.center)[columns], np.asarray(self.scale)[columns]
        made = np.asarray(self._checked(values, len(center)) * scale + center)
        first = columns.indices(len(self.center))[0]
        made[..., : max(0, self.logs - first)] = np.exp(made[..., : max(0, self.logs - first)])
        return made

    def to_json(self) -> dict[str, Any]:
        """Everything needed to make this scaling again."""
        return {"kind": self.kind, "center": list(self.center), "scale": list(self.scale), "logs": self.logs}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Scaler:
        """The scaling that ``to_json`` described."""
        if not isinstance(saved, dict) or set(saved) != {"kind", "center", "scale", "logs"} or saved["kind"] not in KINDS:
            raise ValueError(f"a saved scaling has a kind ({', '.join(KINDS)}), center, scale and logs; got {saved!r}")
        return cls(saved["kind"], tuple(map(float, saved["center"])), tuple(map(float, saved["scale"])), int(saved["logs"]))

    @staticmethod
    def _checked(values: ArrayLike, columns: int) -> NDArray[np.float64]:
        array = np.asarray(values, dtype=np.float64)
        if array.ndim == 0 or array.shape[-1] != columns:
            raise ValueError(f"values have the shape {list(array.shape)} but the scaling is of {columns} columns")
        return array


def _logarithms(array: NDArray[np.float64], columns: int) -> NDArray[np.float64]:
    """The array with the logarithms of its first ``columns`` columns."""
    if not columns:
        return array
    if (array[..., :columns] <= 0).any():
        raise ValueError(f"a logarithm needs numbers above zero, got {np.nanmin(array[..., :columns]):g}")
    return np.concatenate([np.log(array[..., :columns]), array[..., columns:]], axis=-1)
