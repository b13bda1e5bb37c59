"""Scaling of columns, fitted on the training part alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

KINDS = ("standard", "minmax", "none")


@dataclass(frozen=True)
class Scaler:
    """``(value - center) / scale``, column by column ``[C]``.

    "standard": mean and standard deviation; "minmax": onto 0..1; "none": as it is. A constant column is only centred.
    Fit it on the rows that are trained on and on nothing else: `Scaler.fit(table.values[a:b])`.
    """

    kind: str
    center: tuple[float, ...]
    scale: tuple[float, ...]

    @classmethod
    def fit(cls, values: ArrayLike, kind: str = "standard", columns: Sequence[str] | None = None) -> Scaler:
        """Fit on ``values [T, C]``, leaving out NaN; raises ValueError for an unknown kind or a column without values."""
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
        kept = np.where(there, array, np.nan)
        center = np.nanmean(kept, axis=0) if kind == "standard" else np.nanmin(kept, axis=0)
        scale = np.nanstd(kept, axis=0) if kind == "standard" else np.nanmax(kept, axis=0) - center
        # the standard deviation of a constant is rounding, not zero
        scale = np.where(scale <= 1e-12 * np.abs(center), 1.0, scale)
        return cls(kind, tuple(center.tolist()), tuple(scale.tolist()))

    def transform(self, values: ArrayLike) -> NDArray[np.float64]:
        """Scaled values ``[..., C]``; NaN stays NaN."""
        array = self._checked(values, len(self.center))
        return np.asarray((array - np.asarray(self.center)) / np.asarray(self.scale))

    def inverse(self, values: ArrayLike, columns: slice = slice(None)) -> NDArray[np.float64]:
        """Values ``[..., C]`` in their own units again; ``columns`` says which of the fitted columns they are."""
        center, scale = np.asarray(self.center)[columns], np.asarray(self.scale)[columns]
        return np.asarray(self._checked(values, len(center)) * scale + center)

    def to_json(self) -> dict[str, Any]:
        """Everything needed to make this scaling again."""
        return {"kind": self.kind, "center": list(self.center), "scale": list(self.scale)}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Scaler:
        """The scaling that ``to_json`` described."""
        if not isinstance(saved, dict) or set(saved) != {"kind", "center", "scale"} or saved["kind"] not in KINDS:
            raise ValueError(f"a saved scaling has a kind ({', '.join(KINDS)}), center and scale; got {saved!r}")
        return cls(saved["kind"], tuple(map(float, saved["center"])), tuple(map(float, saved["scale"])))

    @staticmethod
    def _checked(values: ArrayLike, columns: int) -> NDArray[np.float64]:
        array = np.asarray(values, dtype=np.float64)
        if array.ndim == 0 or array.shape[-1] != columns:
            raise ValueError(f"values have the shape {list(array.shape)} but the scaling is of {columns} columns")
        return array
