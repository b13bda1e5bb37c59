"""Strategies side by side."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import bptt
from bptt.faithful import Fidelity
from bptt.tasks.compare import Comparison, Trial
from bptt.tasks.pictures import picture
from bptt.tasks.problems import ProblemModel, ProblemSettings, problem_of, solved


def small() -> tuple[bptt.data.Problem, ProblemModel, torch.nn.Module]:
    return problem_of("adding", ProblemSettings(length=8, rows=4, hidden=5))


def test_each_begins_with_the_same_weights_and_sees_the_same_data() -> None:
    problem, model, loss = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = bptt.compare(model, loss, problem, [bptt.Full(), "truncated:k1=8,k2=8", "truncated:k1=4"], updates=30)
    full, same, short = found.trials
    assert [point[0] for point in full.curve] == [10, 20, 30]
    assert [loss for *_, loss in same.curve] == pytest.approx([loss for *_, loss in full.curve], rel=1e-5)
    assert (full.steps, short.steps, short.updates) == (240, 120, 30)
    assert full.gradient is not None
    assert short.gradient is not None
    assert full.gradient.bias < 1e-12
    assert short.gradient.bias > 1e-3
    assert full.peak is not None
    assert short.peak is not None
    assert full.peak > short.peak > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_strategy_that_cannot_serve_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    problem, *_ = small()

    class Both(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.readout = bptt.nn.GRU(2, 3, bidirectional=True), torch.nn.Linear(6, 1)

        def forward(self, x: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
            y, state = self.layer(x, state)
            return self.readout(y), state

    found = bptt.compare(Both(), bptt.SquaredError(), problem, [bptt.Truncated(4), bptt.Full()], updates=2)
    assert found.trials[0].failed is not None
    assert "needs the whole sequence" in found.trials[0].failed
    assert found.trials[1].gradient is not None
    report = found.report()
    assert len(report.tables[0].rows) == 1
    assert report.remarks[0].startswith("truncated:k1=4,k2=4: a bidirectional layer")


def test_a_score_is_taken_on_the_way_and_drawn(tmp_path: Path) -> None:
    problem, model, loss = small()
    found = bptt.compare(
        model, loss, problem, ["full"], updates=25, every=1, score=lambda m: solved(m, problem, 1), score_name="solved"
    )
    assert [update for update, *_ in found.trials[0].scored] == [10, 20, 25]
    found.save_picture(tmp_path / "both.png", chance=problem.chance)
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")
    assert "solved" in found.report().tables[0].columns


class Told(torch.nn.Module):
    """A layer, whose readout is left to the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.readout = bptt.nn.GRU(3, 8), torch.nn.Linear(8, 5)

    def forward(self, x: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        y, state = self.layer(x, state)
        return y, state


def test_a_loss_that_holds_the_readout_trains_and_measures_that_of_the_copy() -> None:
    model, data = Told(), (torch.randn(40, 4, 3), torch.randint(0, 5, (40, 4)))
    loss = bptt.nn.ReadoutCrossEntropy(model.readout)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    given = [p.grad for p in model.parameters()]
    found = bptt.compare(model, loss, data, ["full", "truncated:k1=10"], epochs=6, lr=0.05, every=1, steps=40)
    assert all(p.grad is grad for p, grad in zip(model.parameters(), given, strict=True))
    assert all(bool((grad == 1).all()) for grad in given if grad is not None)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    twin = copy.deepcopy(model).train()
    twin.zero_grad()
    alone = bptt.Run(
        twin, bptt.nn.ReadoutCrossEntropy(twin.readout), data, lr=0.05, clip=1.0, logs=bptt.train.Logs(1, False), seed=0
    )
    lines = alone.fit(epochs=6).history
    full, short = found.trials
    assert [loss for *_, loss in full.curve] == pytest.approx([line["loss"] for line in lines if "loss" in line], rel=1e-5)
    assert short.gradient == bptt.fidelity(
        twin.eval(), bptt.nn.ReadoutCrossEntropy(twin.readout), data, through=bptt.Truncated(10), passes=1
    )


def test_a_loss_that_cannot_be_copied_along_with_the_model_is_refused() -> None:
    model, data = Told(), (torch.randn(10, 4, 3), torch.randn(10, 4, 5))
    with pytest.raises(ValueError, match="loss reads parameters of the model given"):
        bptt.compare(model, lambda y, target: (model.readout(y) - target).square().sum(), data, ["full"], updates=1)
    assert all(p.grad is None for p in model.parameters())


def test_budgets_of_memory_are_compared_too() -> None:
    problem, model, loss = small()
    budgets = [bptt.Checkpointed("1MiB"), bptt.Truncated(2, 4, memory="1MiB")]
    found = bptt.compare(model, loss, problem, [bptt.Full(), *budgets], updates=3)
    for trial in found.trials:
        assert trial.unmeasured is None
        assert trial.peak is not None
        assert 0 < trial.peak < 2**20
    assert found.trials[1].gradient is not None
    assert found.trials[1].gradient.bias < 1e-5


def test_weights_that_have_gone_astray_lose_no_trial() -> None:
    problem, model, loss = small()
    found = bptt.compare(model, loss, problem, ["full", "truncated:k1=4"], updates=3, lr=1e30, clip=None, optimizer="sgd")
    told = [trial.failed or trial.unmeasured or "" for trial in found.trials]
    assert all("finite" in each for each in told), told
    assert len(found.report().remarks) == 2


def test_a_bias_is_told_from_chance() -> None:
    problem, model, loss = small()
    found = bptt.compare(model, loss, problem, ["snap:n=1", "uoro:seed=1"], updates=8, draws=4)
    biased, noisy = (row[-2] for row in found.report().tables[0].rows)
    assert float(biased) > 0
    assert noisy.startswith("below ")


def test_steps_count_where_no_window_held_a_target() -> None:
    problem, model, loss = small()  # whose only target is at the eighth step
    [trial] = bptt.compare(model, loss, problem, ["rtrl"], updates=3).trials
    assert (trial.updates, trial.steps, trial.curve) == (3, 3, [])


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The panels of the picture drawn last."""
    panels: list[Any] = []

    @contextmanager
    def watched(path: Path, **options: Any) -> Iterator[list[Any]]:
        with picture(path, **options) as axes:
            panels[:] = axes
            yield axes

    monkeypatch.setattr("bptt.tasks.side_by_side.picture", watched)
    return panels


def test_the_picture_shows_what_each_costs_and_how_true_it_is(tmp_path: Path, drawn: list[Any]) -> None:
    problem, model, loss = small()
    found = bptt.compare(model, loss, problem, ["full", "truncated:k1=4"], updates=9)
    found.save_picture(tmp_path / "both.png")
    peaks, true = drawn[-2:]
    assert [bar.get_width() * 2**20 for bar in peaks.patches] == [trial.peak for trial in found.trials]
    wanted = [trial.gradient for trial in found.trials]
    widths = [bar.get_width() for bar in true.patches]
    assert widths == [width for g in wanted if g is not None for width in (g.bias, g.variance**0.5)]
    assert f"bias {wanted[1].bias:.2g}" in [text.get_text() for text in true.texts]  # type: ignore[union-attr]


LONG = [
    "full",
    "checkpointed:memory=1MiB",
    "truncated:k1=5,k2=10,memory=1MiB",
    "randomized:horizon=10,block=1,alpha=4.0",
    "adaptive:bias=0.1,k1=5,most=20,every=31",
    "rtrl:k=1",
    "snap:k=1,n=1",
    "uoro:k=1",
]


@pytest.mark.parametrize("several", [False, True], ids=["one point each", "curves"])
def test_the_picture_of_many_strategies_can_be_read(tmp_path: Path, drawn: list[Any], several: bool) -> None:
    ends = range(10, 40, 10) if several else [10]
    trials = [
        Trial(
            name,
            curve=[(end, end / 100, 1 / end) for end in ends],
            scored=[(end, end / 100, 0.3) for end in ends],
            peak=1000 * (n + 1),
            gradient=Fidelity(0.1 * n, 0.1, 0.01, 3),
        )
        for n, name in enumerate(LONG)
    ]
    Comparison(trials, "nats", "solved").save_picture(tmp_path / "many.png", chance=0.2)
    names = [text.get_text() for text in drawn[0].get_legend().get_texts()]
    assert names == [*LONG, "no memory 0.2"]
    assert drawn[0].get_legend().get_window_extent().x1 <= drawn[0].figure.bbox.x1
    for panel in drawn[-2:]:
        assert [text.get_text() for text in panel.texts if text.get_text() in LONG] == LONG
    colours = [{line.get_color() for line in panel.lines[: len(LONG)]} for panel in drawn[:3]]
    assert [len(each) for each in colours] == [len(LONG)] * 3
    for panel in drawn[:3]:
        assert {line.get_marker() for line in panel.lines[: len(LONG)]} == ({""} if several else {"o"})
        assert min(panel.get_window_extent().size) > 100


def test_nothing_to_compare_is_an_error() -> None:
    problem, model, loss = small()
    with pytest.raises(ValueError, match="name at least one strategy"):
        bptt.compare(model, loss, problem, [], updates=1)
    with pytest.raises(ValueError, match="say how long"):
        bptt.compare(model, loss, problem, ["full"])


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "irnn"])
def test_every_network_reads_every_problem(cell: str) -> None:
    for name in ("adding", "copy", "order", "reber"):
        problem, model, loss = problem_of(name, ProblemSettings(length=12, rows=3, hidden=4, cell=cell))
        piece = next(problem.epoch(0))
        window = next(bptt.backprop(model, loss, piece))
        assert window.count > 0
        assert 0 <= solved(model, problem, 1) <= 1
