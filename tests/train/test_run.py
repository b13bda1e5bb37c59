import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bptt
from bptt.data import Piece, Stream
from bptt.train import Clip, Diverged, Logs, Run, Saving, Schedule, Validation, load_weights, read_config, read_log
from bptt.train.checkpoint import checkpoints
from tests.train.runs import QUIET, Regressor, batches, fresh, pair, text


def run_of(data: Any = None, loss: Any = None, **more: Any) -> Run:
    given = {"logs": QUIET, **more}
    return Run(given.pop("model", None) or Regressor(), loss or bptt.SquaredError(), data or pair(12, 0), **given)


def test_the_loop_is_the_one_a_user_would_write() -> None:
    torch.manual_seed(3)
    by_hand, model = Regressor(), Regressor()
    model.load_state_dict(by_hand.state_dict())
    optimizer = torch.optim.Adam(by_hand.parameters(), 0.01, fused=True)
    torch.manual_seed(7)
    by_hand.train()
    for _ in range(3):
        for window in bptt.backprop(by_hand, bptt.SquaredError(), pair(12, 0), through=bptt.Truncated(5, 8), reduction="mean"):
            bptt.train.clip_norm(by_hand, 0.5)
            optimizer.step()
            optimizer.zero_grad()
            assert window.count
    torch.manual_seed(7)
    run = Run(model, bptt.SquaredError(), pair(12, 0), through=bptt.Truncated(5, 8), lr=0.01, clip=0.5, logs=QUIET)
    result = run.fit(epochs=3)
    assert (result.reason, result.updates, result.epochs) == ("epochs", 9, 3)
    for name, value in by_hand.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_it_learns_and_the_model_then_holds_its_best_weights(tmp_path: Path) -> None:
    run = fresh(batches, tmp_path, validation=Validation(pair(9, 77), metrics=lambda model: {"two": 2.0}))
    result = run.fit(epochs=6)
    first, *_ = (line for line in result.history if "validation" in line)
    assert result.best is not None
    assert result.best < first["validation"]
    assert first["two"] == 2.0
    assert run.evaluate(pair(9, 77)).mean == result.best
    best = json.loads((tmp_path / "best.json").read_text())
    assert best == {"checkpoint": f"{result.best_update:08d}", "update": result.best_update, "validation": result.best}
    assert all(torch.equal(run.model.state_dict()[k], v) for k, v in load_weights(tmp_path).items())


def test_keep_best_false_leaves_the_last_weights(tmp_path: Path) -> None:
    getting_worse = Validation(pair(9, 77), every=1, keep_best=False)
    run = fresh(batches, tmp_path, lr=0.3, validation=getting_worse, schedule="decay:after=1,rate=30")
    result = run.fit(updates=12)
    assert result.best_update != 12
    assert all(torch.equal(run.model.state_dict()[k], v) for k, v in load_weights(tmp_path, "last").items())
    assert not all(torch.equal(run.model.state_dict()[k], v) for k, v in load_weights(tmp_path, "best").items())


def test_log_lines_are_means_from_sums_and_counts(tmp_path: Path) -> None:
    losses: list[tuple[float, int]] = []

    class Spy(bptt.SquaredError):
        def forward(self, y: Tensor, target: Tensor) -> Tensor:
            made = super().forward(y, target)
            losses.append((made.item(), target.numel()))
            return made

    run = run_of([pair(5, 1), pair(9, 2), pair(3, 3)], Spy(), folder=tmp_path, logs=Logs(2, False, False), lr=0.02)
    result = run.fit(epochs=1)
    lines = read_log(tmp_path)
    assert [line["update"] for line in lines] == [2, 3]
    assert lines[0]["loss"] == pytest.approx((losses[0][0] + losses[1][0]) / (losses[0][1] + losses[1][1]), rel=1e-12)
    assert lines[1]["loss"] == pytest.approx(losses[2][0] / losses[2][1], rel=1e-12)
    assert [line["steps"] for line in lines] == [14, 17]
    assert set(lines[0]) == {"update", "epoch", "steps", "loss", "grad_norm", "lr", "tokens_per_second", "seconds"}
    assert lines[0]["lr"] == 0.02
    assert lines[0]["epoch"] == lines[1]["epoch"] == 0
    assert result.history == lines
    assert result.last == lines[-1]


def test_limits_and_patience(tmp_path: Path) -> None:
    assert run_of().fit(updates=3).reason == "updates"
    assert run_of().fit(updates=9, epochs=2).reason == "epochs"
    endless = run_of().fit(seconds=0.3)
    assert endless.reason == "seconds"
    assert 0.3 <= endless.seconds < 3
    still = run_of(optimizer="sgd", lr=1e-30, validation=Validation(pair(5, 1), patience=2)).fit()
    assert (still.reason, still.epochs, still.best_update) == ("patience", 3, 1)


def test_the_last_update_is_validated_even_between_two_epochs() -> None:
    run = fresh(text, None, validation=Stream(torch.arange(90) % 11, 1), through=bptt.Truncated(5), schedule=None)
    run.fit(updates=3)
    assert run.fit(updates=3).best_update == 3


def test_callbacks_hear_of_each_moment_and_their_words_are_shown(capsys: Any) -> None:
    seen: list[tuple[str, int, int]] = []

    def callback(moment: Any) -> str | None:
        seen.append((moment.event, moment.update, moment.epoch))
        assert not moment.line or "update" in moment.line
        return "[a sample]" if moment.event == "epoch" else None

    logs = Logs(2, True, False)
    run = run_of(through=bptt.Truncated(5), validation=pair(4, 4), callbacks=[callback], logs=logs)
    run.fit(epochs=2)
    assert seen == [
        *[("log", 2, 0), ("log", 3, 0), ("validation", 3, 0), ("epoch", 3, 0)],
        *[("log", 4, 1), ("log", 6, 1), ("validation", 6, 1), ("epoch", 6, 1)],
    ]
    shown = capsys.readouterr()
    assert shown.err.count("[a sample]\n") == 2
    assert "update 3  validation" in shown.err
    assert shown.out == ""


def test_evaluation_leaves_the_modes_of_parts_as_they_were() -> None:
    model = Regressor()
    model.gru.eval()
    run_of(model=model, validation=pair(3, 3)).fit(epochs=2)
    assert model.training
    assert not model.gru.training


def test_tensorboard_gets_the_lines(tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    fresh(text, tmp_path, logs=Logs(4, False, True)).fit(updates=8)
    fresh(text, tmp_path, logs=Logs(4, False, True)).fit(updates=16)
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [4, 8, 12, 16]
    assert [event.step for event in events.Scalars("validation/loss")] == [4, 8, 12, 16]


class Poisoned(nn.Module):
    """A model whose output becomes NaN at one step of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Regressor()

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return self.inner(x, state)


def poisoned(steps: int, bad: int) -> Piece:
    piece = pair(steps, 0)
    piece.x[bad] = math.inf
    return piece


def test_a_loss_that_is_not_finite_stops_before_the_weights_are_touched(tmp_path: Path) -> None:
    model = Regressor()
    before: dict[int, Any] = {}

    def keep(moment: Any) -> None:
        before[moment.update] = {k: v.clone() for k, v in moment.model.state_dict().items()}

    run = Run(
        model,
        bptt.SquaredError(),
        poisoned(20, 13),
        through=bptt.Truncated(4),
        folder=tmp_path / "run",
        logs=Logs(1, False, False),
        callbacks=[keep],
    )
    with pytest.raises(Diverged) as raised:
        run.fit(epochs=2)
    message = str(raised.value)
    assert "at update 4 (epoch 1, steps 12..16 of sequence 0)" in message
    assert "the loss is nan (step 13: x is not finite)" in message
    assert "gradient norm nan, one update before " in message
    assert "last finite loss per target " in message
    assert f"The last good checkpoint is {tmp_path / 'run' / 'checkpoints' / '00000001'}" in message
    assert "lower learning rate than 0.001, or clip=1.0" in message
    assert all(torch.equal(value, before[3][name]) for name, value in model.state_dict().items())
    assert checkpoints(tmp_path / "run" / "checkpoints") == [1]
    assert len(load_weights(tmp_path / "run")) == len(model.state_dict())


def test_a_gradient_that_is_not_finite_stops_too() -> None:
    class Steep(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return grad * math.inf

    model = Regressor()
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    for clip in (None, 1.0, Clip(value=1.0)):
        with pytest.raises(Diverged, match=r"the gradient norm is (inf|nan) \(the loss \d"):
            run_of(model=model, loss=lambda y, t: (Steep.apply(y) - t).square().sum(), clip=clip).fit(updates=2)
        assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_a_window_without_a_target_does_not_move_the_weights() -> None:
    x, target = torch.ones(12, 2, 2), torch.full((12, 2, 1), math.nan)
    target[:4] = 1.0
    seen = {}

    def keep(moment: Any) -> None:
        seen[moment.update] = moment.model.readout.weight.detach().clone()

    run = run_of(data=(x, target), through=bptt.Truncated(4), optimizer="adam", logs=Logs(1, False), callbacks=[keep])
    run.fit(epochs=1)
    assert torch.equal(seen[1], seen[3])  # momentum alone would have moved them
    assert len(seen) == 3


def test_a_validation_loss_that_is_not_finite_stops() -> None:
    with pytest.raises(Diverged, match="the validation loss is nan after update 1"):
        run_of(validation=poisoned(4, 2)).fit(updates=3)


@pytest.mark.parametrize("at", ["loss", "first update", "data", "schedule"])
def test_no_failure_before_the_first_update_leaves_a_folder_behind(tmp_path: Path, at: str) -> None:
    class Failing(bptt.SquaredError):
        def forward(self, y: Tensor, target: Tensor) -> Tensor:
            raise ValueError("sizes do not fit")

    folder = tmp_path / "runs" / "deep" / "x"
    more: dict[str, Any] = {"folder": folder, "logs": Logs(1, False, True)}
    if at == "loss":
        run = run_of(loss=Failing(), **more)
    elif at == "first update":
        run = run_of(data=poisoned(3, 0), **more)
    elif at == "data":
        run = run_of(data=(torch.zeros(3, 2, 2), torch.zeros(4, 2, 1)), **more)
    else:
        run = run_of(data=[pair(4, 1), pair(5, 2)], through=bptt.Truncated(2), schedule="cosine", **more)
    with pytest.raises(ValueError):
        run.fit(epochs=1)
    assert list(tmp_path.iterdir()) == []
    mine = tmp_path / "mine"
    mine.mkdir()
    run.store = type(run.store)(mine)
    with pytest.raises(ValueError):
        run.fit(epochs=1)
    assert list(mine.iterdir()) == []


def test_a_folder_is_kept_once_there_is_something_to_keep(tmp_path: Path) -> None:
    def fail(moment: Any) -> None:
        raise RuntimeError("mine")

    run = run_of(folder=tmp_path / "x", callbacks=[fail], logs=Logs(2, False, False), through=bptt.Truncated(3))
    with pytest.raises(RuntimeError, match="mine"):
        run.fit(epochs=1)
    assert checkpoints(tmp_path / "x" / "checkpoints") == [1]
    assert not (tmp_path / "x" / ".owner").exists()


def test_saving_by_updates_and_by_seconds(tmp_path: Path) -> None:
    saved: list[int] = []

    def watch(folder: Path) -> Any:
        def callback(moment: Any) -> None:
            saved.extend(checkpoints(folder / "checkpoints")[-1:])

        return callback

    more: dict[str, Any] = {"through": bptt.Truncated(1), "logs": Logs(1, False, False)}
    run_of(folder=tmp_path / "a", saving=Saving(None, updates=4), callbacks=[watch(tmp_path / "a")], **more).fit(updates=10)
    assert saved == [1, 1, 1, 1, 5, 5, 5, 5, 9]
    assert checkpoints(tmp_path / "a" / "checkpoints") == [9, 10]
    saved.clear()
    run_of(folder=tmp_path / "b", saving=Saving(seconds=1e-6), callbacks=[watch(tmp_path / "b")], **more).fit(updates=4)
    assert saved == [1, 2, 3]


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"model": "lstm"}, TypeError, "model must be a torch.nn.Module, got str"),
        ({"through": "full"}, TypeError, "through must be a strategy"),
        ({"reduction": "average"}, ValueError, "reduction must be"),
        ({"optimizer": "adm"}, ValueError, "no optimizer is called 'adm' .did you mean 'adam'?"),
        ({"optimizer": 3}, TypeError, "optimizer must be a name"),
        (
            {"optimizer": torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)},
            ValueError,
            "parameters that are not the model's",
        ),
        ({"optimizer": lambda p: torch.optim.SGD(p, 0.1), "lr": 0.1}, ValueError, "goes with an optimizer's name"),
        ({"lr": -1}, ValueError, "lr must be a number above 0"),
        ({"schedule": "cosin"}, ValueError, "did you mean 'cosine'"),
        ({"clip": 0}, ValueError, "norm must be a number above 0"),
        ({"data": torch.zeros(3)}, TypeError, "data must be a pair"),
        ({"data": iter([pair(3, 1)])}, TypeError, "can be read only once"),
        ({"validation": 3}, TypeError, "validation must be a pair"),
        ({"config": {"a": object()}}, TypeError, "config must hold what JSON can"),
        ({"config": {"a": math.nan}}, TypeError, "config must hold what JSON can"),
        ({"logs": Logs(tensorboard=True)}, ValueError, "needs a folder"),
        ({"loss": nn.Bilinear(1, 1, 1)}, ValueError, "loss has parameters of its own"),
        ({"model": nn.Linear(1, 1).requires_grad_(False)}, ValueError, "nothing to train"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_once(more: dict[str, Any], error: type[Exception], words: str) -> None:
    given = {"model": Regressor(), "loss": bptt.SquaredError(), "data": pair(3, 1), **more}
    with pytest.raises(error, match=words):
        Run(given.pop("model"), given.pop("loss"), given.pop("data"), **given)


def test_settings_check_themselves() -> None:
    for make in (
        lambda: Validation(1, every=0),
        lambda: Validation(1, patience=True),
        lambda: Saving(seconds=-1),
        lambda: Saving(updates=0),
        lambda: Saving(keep=0),
        lambda: Logs(every=0),
        lambda: run_of().fit(epochs=0),
        lambda: run_of().fit(seconds=math.inf),
        lambda: run_of().fit(updates=1.5),
    ):
        with pytest.raises(ValueError, match="must be a"):
            make()
    with pytest.raises(ValueError, match=r"say how long to train: fit\(epochs"):
        run_of().fit()
    for schedule in ("plateau", Schedule(torch.optim.lr_scheduler.ReduceLROnPlateau)):
        with pytest.raises(ValueError, match="waits for a validation"):
            run_of(schedule=schedule).fit(epochs=1)


class Lying(list[Any]):
    sequences, steps = 3, None

    def epoch(self, n: int, start: int = 0) -> Any:
        return iter(list(self)[start:])

    def fingerprint(self) -> str:
        return "none"


def test_a_source_that_is_not_as_it_says() -> None:
    with pytest.raises(ValueError, match=r"data.epoch\(0\) ended after 2 sequences, but data.sequences is 3"):
        run_of(Lying([pair(3, 1), pair(3, 2)])).fit(epochs=1)
    with pytest.raises(ValueError, match="sequence 1 of epoch 0 has no steps"):
        run_of(Lying([pair(3, 1), pair(0, 2)])).fit(epochs=1)
    four = Lying([pair(3, i) for i in range(4)])
    assert run_of(four).fit(epochs=2).updates == 6


def test_the_record_says_what_was_asked(tmp_path: Path) -> None:
    run_of(folder=tmp_path, config={"task": "text", "sizes": (3, 4)}, clip=0.25, seed=3).fit(updates=1)
    record = read_config(tmp_path)
    assert record["config"] == {"task": "text", "sizes": [3, 4]}
    assert record["run"] | {"optimizer": ""} == {
        "through": "full",
        "optimizer": "",
        "schedule": None,
        "clip": "norm=0.25",
        "reduction": "mean",
        "loss": "SquaredError()",
        "seed": 3,
    }
    assert record["run"]["optimizer"].startswith("Adam(lr=0.001, betas=(0.9, 0.999)")
    assert record["model"]["readout.weight"] == "float32[1, 6]"
