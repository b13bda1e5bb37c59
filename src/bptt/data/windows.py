"""Stretches of a table as training sequences: a history, and the values that follow each of its steps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from bptt.data.piece import Piece
from bptt.data.scale import Scaler
from bptt.data.table import Rows, Table


class Histories:
    """Stretches of ``L`` steps of a table, scaled, to forecast the ``H`` rows after them from.

    Inputs, in this order: the targets and the ``past`` columns of the same row; under ``missing="mask"`` (or where an
    array has NaN) one 0/1 flag for each of these, 1 where observed; the ``known`` columns of the rows 1..H ahead.
    ``table``, ``history``, ``horizon``, ``scaler``: as for `Windows`.

    **Raises** ``ValueError`` for sizes that are not whole or below 1.
    """

    def __init__(
        self,
        table: Table | ArrayLike,
        history: int,
        horizon: int = 1,
        *,
        scaler: Scaler | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.table = table if isinstance(table, Table) else _bare(table)
        self.history, self.horizon = _size("history", history), _size("horizon", horizon)
        self.dtype = dtype
        self._values = self.table.values if scaler is None else scaler.transform(self.table.values)
        self._features, self.inputs = self._make_inputs(self._values)

    def at(self, origin: int) -> Tensor:
        """The history ``[L, 1, C_in]`` that ends at row ``origin``, for a forecast of the rows after it."""
        if not self.history - 1 <= origin < len(self.table) - self.table.future:
            raise ValueError(
                f"a history of {self.history} rows cannot end at row {origin} of {len(self.table) - self.table.future}"
            )
        if self.table.known and origin + self.horizon >= len(self.table):
            raise ValueError(
                f"a forecast of {self.horizon} rows after row {origin} needs {', '.join(self.table.known)} for them; "
                f"add {origin + self.horizon + 1 - len(self.table)} rows to the table that hold these columns only"
            )
        return self._features[origin - self.history + 1 : origin + 1, None]

    def latest(self) -> Tensor:
        """The history ``[L, 1, C_in]`` that ends at the last row with data, for a forecast beyond the table."""
        return self.at(len(self.table) - self.table.future - 1)

    def _make_inputs(self, values: NDArray[np.float64]) -> tuple[Tensor, tuple[str, ...]]:
        table = self.table
        now = len(table.targets) + len(table.past)
        names = list(table.columns[:now])
        # rows of the future are never read as a present
        filled = np.nan_to_num(values, nan=0.0)
        parts = [filled[:, :now]]
        if table.missing == "mask":
            parts.append(table.observed[:, :now].astype(np.float64))
            names += [f"{name} observed" for name in table.columns[:now]]
        for step in range(1, self.horizon + 1) if table.known else ():
            ahead = np.zeros((len(values), len(table.known)))
            ahead[:-step] = filled[step:, now:]
            parts.append(ahead)
            names += [f"{name} +{step}" for name in table.known]
        return torch.from_numpy(np.concatenate(parts, axis=1)).to(self.dtype), tuple(names)


class Windows(Histories):
    """Windows of ``L`` steps of history, with the ``H`` values that follow, whose targets lie in the rows ``[a, b)``.

    Window ``i`` ends at row ``r = origins[i]``; its history is the rows ``r-L+1 .. r``, which may reach back before
    ``a`` (the past is known), and its forecast is of the rows ``r+1 .. r+H``, all in ``[a, b)``. ``windows[i]`` is
    ``(history [L, C_in], target [H, C_out])``; ``piece(indices)`` is a batch as a sequence of ``L`` steps:

        x [L, B, C_in],   target [L, B, H, C_out]:  target[t, :, h] is the value h+1 steps after the row of x[t]

    With ``dense`` every step of the history has targets, so that one pass learns L forecasts; otherwise only the last
    step has (for evaluation: each forecast then counts once, with its full history); ``warm`` steps at the beginning of
    each history have none, for networks that need some values before they can say anything. Targets outside ``[a, b)``, not
    observed, or not wanted are NaN, and the loss must leave NaN out of its sum and its ``count``: a mask would also
    hold the state, which has to read every step. ``x`` never holds NaN; its columns are those of `Histories`.

    Args:
        table: a `Table`, or an array ``[T, C]`` whose columns all are targets.
        history: ``L``. horizon: ``H``.
        rows: ``(a, b)``, as from ``table.split()``; default: all.
        scaler: a `Scaler` of the table's columns, fitted on the training rows; default: values as they are.
        stride: take every ``stride``-th window.

    Raises:
        ValueError: fewer rows than a window, sizes that do not fit, no observed target in the rows.
    """

    def __init__(
        self,
        table: Table | ArrayLike,
        history: int,
        horizon: int = 1,
        *,
        rows: Rows | None = None,
        scaler: Scaler | None = None,
        dense: bool = True,
        warm: int = 0,
        stride: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(table, history, horizon, scaler=scaler, dtype=dtype)
        self.stride, self.dense, self.warm = _size("stride", stride), dense, warm
        if not 0 <= warm < self.history:
            raise ValueError(f"warm={warm} leaves no step of a history of {self.history} to learn from")
        end = len(self.table) - self.table.future
        first, last = rows if rows is not None else (0, end)
        if not 0 <= first <= last <= end:
            raise ValueError(f"rows=({first}, {last}) are not within the table's {end} rows")
        self.rows = (int(first), int(last))
        wanted = self._values[:, : len(self.table.targets)].copy()
        wanted[~self.table.observed[:, : wanted.shape[1]]] = np.nan
        wanted[: self.rows[0]] = np.nan
        self._targets = torch.from_numpy(wanted).to(dtype)
        self.origins = self._find_origins(np.asarray(np.isfinite(wanted).any(axis=1)))

    def __len__(self) -> int:
        return len(self.origins)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no window {index}; there are {len(self)}")
        row = int(self.origins[index])
        return self._features[row - self.history + 1 : row + 1], self._targets[row + 1 : row + 1 + self.horizon]

    @property
    def steps(self) -> int:
        """``L``, the steps of every sequence."""
        return self.history

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the target columns, ``C_out``."""
        return self.table.targets

    def piece(self, indices: ArrayLike) -> Piece:
        """The windows of these numbers ``[B]`` side by side."""
        row = self._rows_of(indices)
        if not self.dense:
            ahead = row[-1:, :, None] + torch.arange(1, self.horizon + 1)
            none = torch.full((self.history - 1, *ahead.shape[1:], self._targets.shape[1]), torch.nan, dtype=self.dtype)
            return Piece(self._features[row], torch.cat([none, self._targets[ahead]]))
        target = self._targets[row[..., None] + torch.arange(1, self.horizon + 1)]
        target[: self.warm] = torch.nan
        return Piece(self._features[row], target)

    def histories(self, indices: ArrayLike) -> Tensor:
        """The histories ``[L, B, C_in]`` of the windows of these numbers."""
        return self._features[self._rows_of(indices)]

    def _rows_of(self, indices: ArrayLike) -> Tensor:
        origins = self.origins[np.asarray(indices, dtype=np.int64)]
        return torch.from_numpy(origins - self.history + 1 + np.arange(self.history)[:, None])

    def fingerprint(self) -> str:
        """The sizes and a hash of everything the windows hand out; equal strings mean equal windows."""
        digest = hashlib.blake2b(digest_size=8)
        for tensor in (self._features, self._targets):
            digest.update(np.ascontiguousarray(tensor.to(torch.float64).numpy()).tobytes())
        digest.update(self.origins.astype("<i8").tobytes())
        kind = ("dense" + f" after {self.warm}" * bool(self.warm)) if self.dense else "last step"
        return f"{len(self)} windows of {self.history} steps, horizon {self.horizon}, {kind}, {digest.hexdigest()}"

    def _find_origins(self, there: NDArray[np.bool_]) -> NDArray[np.int64]:
        a, b = self.rows
        first, last = max(self.history - 1, a - 1), b - 1 - self.horizon
        if last < first:
            before = f" (and {a} before them)" if a else ""
            raise ValueError(
                f"{b - a} rows{before} are fewer than a window: history {self.history} and horizon {self.horizon} need "
                f"{self.history + self.horizon} rows, of which {self.horizon} to forecast; shorten one of them"
            )
        origins = np.arange(first, last + 1, self.stride, dtype=np.int64)
        seen = np.concatenate([[0], np.cumsum(there)])
        begin = origins - self.history + 2 + self.warm if self.dense else origins + 1
        kept = origins[seen[origins + 1 + self.horizon] > seen[np.maximum(begin, 0)]]
        if not len(kept):
            raise ValueError(f"no target ({', '.join(self.table.targets)}) was observed in the rows {a}..{b - 1}")
        return kept


class Joined:
    """The windows of several series as one set of examples, in the order of the series; all of one form.

    **Raises** ``ValueError`` where there are none, or their histories, horizons or columns differ.
    """

    def __init__(self, series: Sequence[Windows]) -> None:
        if not series:
            raise ValueError("there are no series to join")
        forms = {(each.history, each.horizon, each.inputs, each.outputs) for each in series}
        if len(forms) > 1:
            raise ValueError("series with other histories, horizons or columns cannot be read side by side")
        self.series = tuple(series)
        self._ends = np.cumsum([len(each) for each in series])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def steps(self) -> int:
        """The steps of every sequence."""
        return self.series[0].steps

    def piece(self, indices: ArrayLike) -> Piece:
        """The windows of these numbers ``[B]`` side by side."""
        numbers = np.atleast_1d(np.asarray(indices, dtype=np.int64))
        which = np.searchsorted(self._ends, numbers, "right")
        own = numbers - np.concatenate([[0], self._ends])[which]
        order = np.argsort(which, kind="stable")
        parts = [self.series[i].piece(own[which == i]) for i in np.unique(which)]
        back = torch.from_numpy(np.argsort(order, kind="stable"))
        return Piece(*(torch.cat([part[place] for part in parts], dim=1)[:, back] for place in range(2)))

    def fingerprint(self) -> str:
        """How many series and windows, and a hash of them; that of the windows where there is one series."""
        if len(self.series) == 1:
            return self.series[0].fingerprint()
        whole = hashlib.blake2b("\n".join(each.fingerprint() for each in self.series).encode(), digest_size=8).hexdigest()
        return f"{len(self)} windows of {len(self.series)} series, {self.steps} steps each, {whole}"


def _bare(values: ArrayLike) -> Table:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(f"an array of windows has the shape [T, C]; got {list(array.shape)}")
    if np.isinf(array).any():
        raise ValueError(f"row {int(np.isinf(array).any(axis=1).argmax())} of the array holds an infinite value")
    observed = np.isfinite(array)
    return Table(
        values=array,
        observed=observed,
        times=np.arange(len(array), dtype=np.int64),
        targets=tuple(str(c) for c in range(array.shape[1])),
        missing="error" if observed.all() else "mask",
    )


def _size(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name}={value!r}: expected a whole number, at least 1")
    return int(value)
