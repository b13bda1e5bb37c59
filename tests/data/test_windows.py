from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from bptt.data import Batches, Piece, Scaler, Source, Windows, read_table


@settings(max_examples=80, deadline=None)
@given(
    length=st.integers(1, 6),
    horizon=st.integers(1, 4),
    a=st.integers(0, 12),
    size=st.integers(1, 14),
    dense=st.booleans(),
    stride=st.integers(1, 3),
)
def test_windows_against_the_definition(length, horizon, a, size, dense, stride):
    series = np.arange(30.0)
    b = min(30, a + size)
    wanted = [r for r in range(30) if r >= length - 1 and r + 1 >= a and r + horizon < b][::stride]
    if not wanted:
        with pytest.raises(ValueError, match=f"history {length} and horizon {horizon} need {length + horizon} rows"):
            Windows(series, length, horizon, rows=(a, b), dense=dense, stride=stride)
        return
    windows = Windows(series, length, horizon, rows=(a, b), dense=dense, stride=stride)
    assert windows.origins.tolist() == wanted
    assert len(windows) == len(wanted)
    piece = windows.piece(range(len(windows)))
    assert piece.x.shape == (length, len(wanted), 1)
    assert piece.target.shape == (length, len(wanted), horizon, 1)
    for i, r in enumerate(wanted):
        history, target = windows[i]
        assert history[:, 0].tolist() == list(range(r - length + 1, r + 1))
        assert target[:, 0].tolist() == list(range(r + 1, r + 1 + horizon))
        assert torch.equal(piece.x[:, i], history)
        for t in range(length):
            for h in range(horizon):
                row = r - length + 1 + t + h + 1
                counts = a <= row < b and (dense or t == length - 1)
                got = float(piece.target[t, i, h, 0])
                assert got == row if counts else np.isnan(got)
    assert piece.mask is None
    assert piece.reset is None


def test_targets_that_were_not_observed_are_nan_and_inputs_are_not():
    series = np.array([0.0, 1, np.nan, 3, 4, 5])
    windows = Windows(series, 2, 1)
    assert windows.inputs == ("0", "0 observed")
    piece = windows.piece([0, 1, 2])
    assert piece.x.isfinite().all()
    assert piece.x[:, 1].tolist() == [[1, 1], [0, 0]]
    assert piece.target[:, 0, 0, 0].isnan().tolist() == [False, True]
    assert piece.target[:, 1, 0, 0].isnan().tolist() == [True, False]


def test_windows_that_teach_nothing_are_left_out():
    series = np.array([0.0, 1, 2, np.nan, np.nan, np.nan, 6, 7])
    assert Windows(series, 2, 1).origins.tolist() == [1, 2, 5, 6]
    assert Windows(series, 2, 1, dense=False).origins.tolist() == [1, 5, 6]
    with pytest.raises(ValueError, match=r"no target \(0\) was observed in the rows 3\.\.5"):
        Windows(series, 1, 1, rows=(3, 6))


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.csv"
    rows = [f"2020-01-{d:02},{d if d < 9 else ''},{10 * d if d < 9 else ''},{100 * d}\n" for d in range(1, 12)]
    path.write_text("day,v,wind,holiday\n" + "".join(rows))
    return read_table(path, targets=["v"], past=["wind"], known=["holiday"])


def test_known_columns_are_read_ahead(table):
    windows = Windows(table, history=3, horizon=2)
    assert windows.inputs == ("v", "wind", "holiday +1", "holiday +2")
    assert windows.outputs == ("v",)
    assert len(windows) == 4
    history, target = windows[-1]
    assert history.tolist() == [[4, 40, 500, 600], [5, 50, 600, 700], [6, 60, 700, 800]]
    assert target.tolist() == [[7], [8]]
    assert windows.latest().tolist() == [[[6, 60, 700, 800]], [[7, 70, 800, 900]], [[8, 80, 900, 1000]]]
    assert windows.at(3).shape == (3, 1, 4)
    with pytest.raises(ValueError, match=r"forecast of 4 rows after row 7 needs holiday for them; add 1 rows"):
        Windows(table, history=3, horizon=4).latest()
    for origin in (1, 8):
        with pytest.raises(ValueError, match=f"history of 3 rows cannot end at row {origin} of 8"):
            windows.at(origin)
    with pytest.raises(IndexError):
        windows[4]


def test_scaling_is_undone(table):
    train, _, test = table.split(test=2)
    scaler = Scaler.fit(table.values[slice(*train)], columns=table.columns)
    assert np.allclose(scaler.transform(table.values[:6]).mean(axis=0), 0)
    assert np.allclose(scaler.transform(table.values[:6]).std(axis=0), 1)
    windows = Windows(table, 2, 1, rows=test, scaler=scaler, dtype=torch.float64)
    history, target = windows[0]
    assert np.allclose(scaler.inverse(target, columns=slice(0, 1)), [[7]])
    assert np.allclose(scaler.inverse(history[:, :2], columns=slice(0, 2)), [[5, 50], [6, 60]])


def test_scalers():
    values = np.array([[1.0, 5, 0.1], [3, 5, 0.1], [np.nan, 5, 0.1], [5, 5, 0.1]])
    standard, minmax, none = (Scaler.fit(values, kind) for kind in ("standard", "minmax", "none"))
    assert standard.center == pytest.approx((3, 5, 0.1))
    assert standard.scale == pytest.approx((np.sqrt(8 / 3), 1, 1))
    assert minmax.transform(values)[:, 0].tolist()[:2] == [0, 0.5]
    assert np.isnan(minmax.transform(values)[2, 0])
    assert np.array_equal(none.transform(values), values, equal_nan=True)
    logs = Scaler.fit(np.array([[1.0, 5.0], [np.e**2, 7.0]]), "log", logs=1)
    assert logs == Scaler("log", (1.0, 6.0), (1.0, 1.0), 1)
    assert Scaler.from_json(json.loads(json.dumps(logs.to_json()))) == logs
    assert np.allclose(logs.inverse(logs.transform([[3.0, -4.0]])), [[3.0, -4.0]])
    assert np.allclose(logs.inverse([[0.0]], columns=slice(1, 2)), [[6.0]])
    with pytest.raises(ValueError, match="a logarithm needs numbers above zero, got 0"):
        logs.transform([[0.0, 1.0]])
    for scaler in (standard, minmax, none):
        assert Scaler.from_json(json.loads(json.dumps(scaler.to_json()))) == scaler
        assert np.allclose(scaler.inverse(scaler.transform(values)), values, equal_nan=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Scaler.fit(np.ones((3, 1)), "robust"), "no scaling 'robust'; choose one of standard, minmax, log, none"),
        (lambda: Scaler.fit(np.ones(3)), r"shape \[3\]; expected \[T, C\]"),
        (lambda: Scaler.fit(np.full((3, 1), np.nan), columns=["v"]), "column 'v' has no value in the 3 rows"),
        (lambda: Scaler.fit(np.ones((3, 2))).transform(np.ones((3, 3))), r"\[3, 3\] but the scaling is of 2 columns"),
        (lambda: Scaler.from_json({"kind": "standard"}), "a saved scaling has a kind"),
        (lambda: Windows(np.ones(5), 4, 2), "5 rows are fewer than a window: history 4 and horizon 2 need 6 rows"),
        (lambda: Windows(np.ones(9), 0), "history=0"),
        (lambda: Windows(np.ones(9), 2, 1.0), "horizon=1.0"),
        (lambda: Windows(np.ones(9), 2, rows=(3, 10)), r"rows=\(3, 10\) are not within the table's 9 rows"),
        (lambda: Windows(np.ones((3, 3, 3)), 1), r"shape \[T, C\]; got \[3, 3, 3\]"),
        (lambda: Windows(np.array([1, np.inf, 2]), 1), "row 1 of the array holds an infinite value"),
        (lambda: Batches(Windows(np.ones(9), 2), rows=0), "rows=0"),
        (lambda: Batches(Windows(np.ones(9), 2), rows=2, seed=-1), "seed=-1"),
        (lambda: Batches(Windows(np.ones(9), 2), rows=2).epoch(0, start=5), r"no batch 5 in epoch 0.*0\.\.3"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def firsts(pieces):
    return [piece.x[0, :, 0].int().tolist() for piece in pieces]


def test_an_epoch_can_be_taken_up_anywhere():
    windows = Windows(np.arange(24.0), 3, 1)
    batches = Batches(windows, rows=4, seed=7)
    assert isinstance(batches, Source)
    assert len(batches) == batches.sequences == 6
    assert batches.steps == 3
    for n in (0, 1, 5):
        whole = firsts(batches.epoch(n))
        assert [len(rows) for rows in whole] == [4, 4, 4, 4, 4, 1]
        assert sorted(x for rows in whole for x in rows) == list(range(21))
        for start in range(7):
            assert firsts(Batches(windows, rows=4, seed=7).epoch(n, start=start)) == whole[start:]
    orders = [firsts(batches.epoch(0)), firsts(batches.epoch(1)), firsts(Batches(windows, rows=4, seed=8).epoch(0))]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    plain = Batches(windows, rows=4, shuffle=False)
    assert firsts(plain.epoch(3))[0] == [0, 1, 2, 3]
    assert all(isinstance(piece, Piece) for piece in plain.epoch(0))


def test_fingerprints_tell_sources_apart():
    def made(series=20, rows=4, seed=0, **options):
        return Batches(Windows(np.arange(float(series)), 3, **options), rows=rows, seed=seed).fingerprint()

    assert made() == made()
    assert len({made(), made(rows=5), made(seed=1), made(dense=False), made(stride=2), made(series=21)}) == 6
    swapped = np.arange(20.0)
    swapped[[3, 4]] = swapped[[4, 3]]
    assert Windows(swapped, 3).fingerprint() != Windows(np.arange(20.0), 3).fingerprint()
