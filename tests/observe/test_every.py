"""Looking at a training: it changes nothing, keeps to its share of the time, and says what is wrong with cause and cure."""

import json
import math
import time

import pytest
import torch
from torch import nn

import bptt
from bptt.observe import every, every as make
from bptt.observe.every import Observer
from bptt.train import Diverged, Interrupted, Logs, Saving
from bptt.train.checkpoint import checkpoints
from tests.train.runs import assert_same, fresh, outcome, stop_after, streamed, text

LOSS = bptt.SquaredError()
ALWAYS = {"share": 1.0, "steps": 8}
EVERY = Logs(every=1, progress=False, tensorboard=False)


def observed(folder):
    return [json.loads(line) for line in (folder / "observe.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("build", [text, streamed])
def test_the_training_is_the_same_to_the_bit(tmp_path, build, monkeypatch):
    monkeypatch.setattr(Observer, "due", lambda self, update: update % 3 == 0)
    monkeypatch.setattr(Observer, "_estimate", lambda self, piece: 1.0)
    fresh(build, tmp_path / "a", logs=EVERY).fit(epochs=2)
    fresh(build, tmp_path / "b", logs=EVERY, observe=every(3, **ALWAYS)).fit(epochs=2)
    assert_same(outcome(tmp_path / "a"), outcome(tmp_path / "b"))
    assert not (tmp_path / "a" / "observe.jsonl").exists()
    lines = observed(tmp_path / "b")
    assert [line["update"] for line in lines] == list(range(3, outcome(tmp_path / "b")["update"] + 1, 3))
    assert {"horizon", "decay", "implicit", "lyapunov", "lost", "profile", "warnings", "cost"} <= set(lines[0])


def test_a_run_that_goes_on_has_the_same_weights_and_no_line_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(Observer, "due", lambda self, update: update % 2 == 0)
    monkeypatch.setattr(Observer, "_estimate", lambda self, piece: 1.0)
    more = {"logs": EVERY, "observe": every(2, **ALWAYS)}
    fresh(text, tmp_path / "a", **more).fit(epochs=2)
    with pytest.raises(Interrupted):
        fresh(text, tmp_path / "b", callbacks=[stop_after(7)], **more).fit(epochs=2)
    assert checkpoints(tmp_path / "b" / "checkpoints")[-1] == 7
    with (tmp_path / "b" / "observe.jsonl").open("a") as file:
        file.write(json.dumps({"update": 8}) + "\n")  # as a kill would leave it: seen, and not yet saved
    fresh(text, tmp_path / "b", **more).fit(epochs=2)
    assert_same(outcome(tmp_path / "b"), outcome(tmp_path / "a"))
    for a, b in zip(observed(tmp_path / "a"), observed(tmp_path / "b"), strict=True):
        assert {**a, "cost": 0} == {**b, "cost": 0}


class Model(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.readout = layer, nn.Linear(layer.hidden_size, 1)

    def forward(self, x, state=None):
        y, state = self.layer(x, state)
        return self.readout(y), state


def data(steps=64, rows=4):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(steps, rows, 2, generator=g)
    return x, x.sum(-1, keepdim=True).cumsum(0)


def observer(model, through=None, clip=None, **more):
    given = {"share": 1.0, **more}
    return Observer(make(1, **given), model, LOSS, through or bptt.Full(), clip, data, 0)


def look(model, through=None, clip=None, norms=()):
    watching = observer(model, through, clip)
    for norm in norms:
        watching.saw(norm)
    watching._predicted = 1e-9
    return watching.look(1)


def test_a_shut_forget_gate_is_named_with_its_cure():
    model = Model(bptt.nn.LSTM(2, 8))
    bptt.nn.init.forget_bias_(model.layer, -6.0)
    (said,) = look(model).said
    assert "the gradient dies: it is under 1 % after" in said
    assert "the forget gate of layer is shut (under 0.1 in 100% of the cases)" in said
    assert "bptt.nn.init.chrono_(model.layer, longest=64)" in said


def test_dead_units_and_saturated_ones_are_named():
    model = Model(nn.RNN(2, 8, nonlinearity="relu"))
    with torch.no_grad():
        model.layer.bias_ih_l0[1:] = -50.0
        model.layer.weight_hh_l0.mul_(0.1)
    assert "7 of 8 units of layer are dead (always 0)" in look(model).said[0]
    model = Model(nn.RNN(2, 8))
    with torch.no_grad():
        model.layer.bias_ih_l0[:] = 4.0
    (said,) = look(model).said
    assert "the activation of layer is saturated (beyond ±0.9 in 100% of the cases). Scale what goes in" in said


def test_units_that_are_all_dead_are_named_where_nothing_has_a_gradient():
    layer = nn.RNN(2, 1, nonlinearity="relu")
    with torch.no_grad():
        layer.bias_ih_l0[:] = -50.0
    (said,) = look(layer).said
    assert said.startswith("not observed any more: no loss of these")
    assert "It is so: 1 of 1 units of RNN are dead (always 0). Units that are dead stay so" in said


def test_a_state_that_shrinks_is_named_by_how_much():
    model = Model(nn.RNN(2, 8))
    with torch.no_grad():
        model.layer.weight_hh_l0.copy_(0.3 * torch.eye(8))
        model.layer.weight_ih_l0.mul_(0.1)
        model.layer.bias_ih_l0.zero_()
        model.layer.bias_hh_l0.zero_()
    (said,) = look(model).said
    assert "every step shrinks the error to 0.29" in said or "every step shrinks the error to 0.3 " in said
    assert "bptt.nn.init.orthogonal_(model.layer)" in said


def test_growth_is_named_with_its_rate_and_cure():
    model = Model(bptt.nn.RNN(2, 8, nonlinearity="identity"))
    with torch.no_grad():
        model.layer.weight_hh_l0.copy_(1.3 * torch.eye(8))
    (said,) = look(model).said
    assert "the gradient blows up" in said
    assert "spectral radius above 1 (it grows 1.3-fold a step)" in said
    assert "bptt.clip_norm(model, 1.0)" in said
    assert "clip_step=1.0" in said
    assert "model.layer.weight_hh_l0 has spectral radius 1.3" in said


def test_a_truncation_that_is_too_short_is_named_with_one_that_is_not():
    model = Model(bptt.nn.RNN(2, 8, nonlinearity="identity"))
    with torch.no_grad():
        model.layer.weight_hh_l0.copy_(0.85 * torch.eye(8))
    saw = look(model, bptt.Truncated(k1=2, k2=3))
    said = next(s for s in saw.said if "k2=3" in s)
    horizon = saw.line["horizon"]
    assert horizon == pytest.approx(1 + math.log(0.01) / math.log(0.85), rel=0.1)
    assert f"k2=3 is shorter than the measured horizon, {horizon:.0f} lags, and loses" in said
    assert f"Use bptt.Truncated(k1=2, k2={horizon + 2:.0f})" in said


def test_clipping_that_is_always_active_is_named():
    saw = look(Model(nn.GRU(2, 8)), clip=0.5, norms=[3.0] * 95 + [0.1] * 5)
    assert saw.line["clipped"] == 0.95
    said = next(s for s in saw.said if "clipping" in s)
    assert "active in 95% of the updates" in said
    assert "set by clip=0.5" in said
    assert "Try clip=6, or a lower lr" in said
    assert not any("clipping" in s for s in look(Model(nn.GRU(2, 8)), clip=0.5, norms=[3.0] * 5 + [0.1] * 5).said)


def test_a_warning_is_said_once_while_it_lasts():
    model = Model(bptt.nn.LSTM(2, 8))
    bptt.nn.init.forget_bias_(model.layer, -6.0)
    watching = observer(model)
    watching._predicted = 1e-9
    first, second = watching.look(1), watching.look(2)
    assert len(first.said) == 1
    assert second.said == ()
    assert second.line["warnings"] == first.line["warnings"]


def test_it_keeps_to_its_share_of_the_time(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    watching = observer(Model(nn.GRU(2, 4)), share=0.05)

    def costs_two_seconds(update, piece, begun):
        now[0] += 2.0
        return bptt.observe.every.__globals__["Look"]({}, ())

    monkeypatch.setattr(watching, "_look", costs_two_seconds)
    monkeypatch.setattr(watching, "_estimate", lambda piece: 2.0)
    looked = []
    for update in range(1, 4001):
        now[0] += 0.1
        if watching.due(update) and watching.look(update) is not None:
            looked.append(update)
    trained = 4000 * 0.1
    assert 8 <= len(looked) <= 10
    assert 2.0 * len(looked) <= 0.05 * trained
    assert looked[0] >= 400  # not before the first look, too, is within the share


def test_a_training_too_short_for_a_look_says_so_at_its_end(tmp_path, capsys, monkeypatch):
    def trained(observe):
        more = {"through": bptt.Truncated(8), "lr": 0.01, "observe": observe, "logs": Logs(progress=True)}
        bptt.Run(Model(nn.GRU(2, 4)), LOSS, data(), **more).fit(epochs=1)
        return capsys.readouterr().err

    monkeypatch.setattr(Observer, "_estimate", lambda self, piece: 1000.0)
    assert "not looked at: the first look would come after update 100, and this was update 8" in trained(every(100))
    assert "not looked at: a look takes about 1e+03 s, and 5% of this training's time are only" in trained(every(2))
    monkeypatch.setattr(Observer, "due", lambda self, update: True)
    assert "not looked at" not in trained(every(2, steps=8))


def test_what_cannot_be_looked_at_is_said_once_and_training_goes_on(tmp_path, capsys):
    class Stateless(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(2, 1)

        def forward(self, x, state=None):
            return self.out(x), torch.zeros(x.shape[1], dtype=torch.long)

    run = bptt.Run(
        Stateless(), LOSS, data(), through=bptt.Truncated(8), lr=0.01, observe=every(1, share=1.0), logs=Logs(progress=True)
    )
    assert run.fit(epochs=2).updates == 16
    assert capsys.readouterr().err.count("not observed any more: Stateless carries no state") == 1


def test_lines_go_to_tensorboard(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr(Observer, "due", lambda self, update: True)
    run = bptt.Run(
        Model(nn.GRU(2, 4)), LOSS, data(), through=bptt.Truncated(16), lr=0.01, folder=tmp_path / "run", observe=2,
        logs=Logs(progress=False, tensorboard=True), saving=Saving(seconds=None),
    )  # fmt: skip
    run.fit(epochs=1)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    names = events.Tags()["scalars"]
    assert "observe/horizon" in names
    assert "observe/lyapunov" in names
    assert "train/loss" in names


def test_bad_settings_are_refused_before_anything_runs():
    for wrong, says in (
        (lambda: every(0), "updates must be a whole number of at least 1, got 0"),
        (lambda: every(5, steps=1), "steps must be a whole number of at least 2, got 1"),
        (lambda: every(5, share=2), "share must be a number above 0, at most 1"),
        (lambda: bptt.Run(nn.GRU(2, 1, bidirectional=True), LOSS, data(), lr=1.0, observe=5), "bidirectional"),
    ):
        with pytest.raises(ValueError, match=says):
            wrong()
    with pytest.raises(TypeError, match=r"observe must be bptt.observe.every\(200\)"):
        bptt.Run(nn.GRU(2, 1), LOSS, data(), lr=1.0, observe="often")


def test_a_training_that_breaks_down_before_its_first_look_is_looked_at(tmp_path, capsys):
    layer = bptt.nn.RNN(2, 8, nonlinearity="relu")
    with torch.no_grad():
        layer.weight_hh_l0.copy_(1.5 * torch.eye(8))
        layer.weight_ih_l0.abs_()
    x, target = data(400)
    run = bptt.Run(
        Model(layer), LOSS, (x.abs(), target), through=bptt.Truncated(50), optimizer="sgd", lr=1e-30, clip=1.0,
        folder=tmp_path / "run", observe=every(1000), logs=EVERY,
    )  # fmt: skip
    with pytest.raises(
        Diverged,
        match=r"clip_step=1\.0 on the layers.*Seen in it: a number is not finite: .*blows up: .* spectral radius above 1",
    ):
        run.fit(epochs=1)
    (line,) = observed(tmp_path / "run")
    assert "blows up" in line["kinds"]
