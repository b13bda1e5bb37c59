import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR

from bptt.train.optimize import Schedule, describe_optimizer, make_optimizer, make_schedule, needs_total


def parameter(value: float = 1.0) -> nn.Parameter:
    return nn.Parameter(torch.tensor([value]))


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("sgd:momentum=0.9,nesterov", torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
        ("sgd: weight_decay=1e-4 ", torch.optim.SGD, {"weight_decay": 1e-4, "nesterov": False}),
        ("adam", torch.optim.Adam, {"lr": 1e-3, "betas": (0.9, 0.999), "weight_decay": 0.0}),
        ("AdamW:beta1=0.8,beta2=0.95,eps=1e-6", torch.optim.AdamW, {"betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.01}),
        ("rmsprop:alpha=0.9,centered=true", torch.optim.RMSprop, {"alpha": 0.9, "centered": True}),
    ],
)
def test_optimizers_by_name(name: str, kind: type, settings: dict[str, Any]) -> None:
    made = make_optimizer(name, [parameter()])
    assert type(made) is kind
    assert {key: made.param_groups[0][key] for key in settings} == settings
    made = make_optimizer(name, [parameter()], lr=0.25)
    assert made.param_groups[0]["lr"] == 0.25


@pytest.mark.parametrize(
    ("name", "lr", "words"),
    [
        ("momentum", None, "no optimizer is called 'momentum': one of sgd, adam, adamw, rmsprop"),
        ("adan", None, r"\(did you mean 'adam'\?\)"),
        ("sgd:momentun=0.9", None, r"sgd has no setting 'momentun' \(did you mean 'momentum'\?\)"),
        ("sgd:momentum=fast", None, "momentum must be a number, got 'fast'"),
        ("sgd:momentum=-1", None, "must not be negative"),
        ("sgd:nesterov=maybe", None, "must be true or false"),
        ("adam:lr=0.1", None, r"an argument of its own, lr=0\.1"),
        ("adam", 0, "lr must be a number above 0"),
        ("adam", math.nan, "lr must be a number above 0"),
    ],
)
def test_optimizers_that_cannot_be(name: str, lr: float | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_optimizer(name, [parameter()], lr)


def test_fused_takes_the_same_steps_as_torch_alone() -> None:
    for name, plain in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)):
        a, b = parameter(), parameter()
        ours, torchs = make_optimizer(name, [a], 0.1), plain([b], 0.1, fused=False, foreach=False)
        for _ in range(5):
            for p, optimizer in ((a, ours), (b, torchs)):
                p.grad = p.detach() * 3
                optimizer.step()
        torch.testing.assert_close(a, b, rtol=1e-6, atol=0)


def test_a_description_tells_settings_apart_and_not_moments() -> None:
    p = parameter()
    a = make_optimizer("adam", [p], 0.1)
    before = describe_optimizer(a)
    scheduled = make_schedule("constant:warmup=10", a, None)
    assert scheduled is not None
    assert a.param_groups[0]["lr"] == pytest.approx(0.01)
    assert describe_optimizer(a) == before == describe_optimizer(torch.optim.Adam([p], 0.1))
    assert describe_optimizer(make_optimizer("adam:eps=1e-7", [p], 0.1)) != before
    assert describe_optimizer(make_optimizer("adam", [p], torch.tensor(0.1).item())) != before


def test_a_limit_in_time_brings_the_rate_down_too() -> None:
    spent = iter([0.0, 0.1, 0.5, 0.9, 1.0, 1.2])
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], 1.0)
    made = make_schedule("linear", optimizer, 4, lambda: next(spent))
    assert made is not None
    seen = [1.0]
    for _ in range(5):
        optimizer.step()
        made[0].step()
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == pytest.approx([1.0, 0.75, 0.5, 0.1, 0.0, 0.0])
    assert make_schedule("cosine", optimizer, None, lambda: 0.5) is not None  # time alone is enough
    fixed = make_schedule("linear:updates=4", make_optimizer("sgd", [parameter()], 1.0), None, lambda: 0.9)
    assert fixed is not None
    assert fixed[0].get_last_lr() == [1.0]  # asked for by updates: time has no say


def rates(schedule: Any, steps: int, updates: int | None = None) -> list[float]:
    optimizer = make_optimizer("sgd", [parameter()], 1.0)
    made = make_schedule(schedule, optimizer, updates)
    assert made is not None
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made[0].step()
    return found


def test_schedules() -> None:
    assert rates("constant:warmup=4", 6) == [0.25, 0.5, 0.75, 1, 1, 1]
    assert rates("linear", 5, 4) == [1, 0.75, 0.5, 0.25, 0]
    assert rates("linear:warmup=2,floor=0.5,updates=4", 6, 100) == [0.5, 1, 1, 0.75, 0.5, 0.5]
    cosine = rates("cosine:warmup=1,floor=0.2", 6, 5)
    assert cosine == pytest.approx([1, 1, 0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2, 0.6, 0.2 + 0.8 * 0.1464466, 0.2])
    # Zaremba et al. 2014, the small model: 4 epochs at the full rate, then half of it, half of that, ...
    assert rates("decay:after=4,rate=0.5", 7) == [1, 1, 1, 1, 0.5, 0.25, 0.125]
    assert rates(Schedule(lambda optimizer: StepLR(optimizer, 2)), 5) == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_plateau_looks_at_the_validation() -> None:
    optimizer = make_optimizer("sgd", [parameter()], 1.0)
    made = make_schedule("plateau:factor=0.25,patience=1,floor=0.1", optimizer, None)
    assert made is not None
    scheduler, moment = made
    found = []
    for loss in (3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0):
        scheduler.step(loss)  # type: ignore[arg-type]
        found.append(optimizer.param_groups[0]["lr"])
    assert moment == "validation"
    assert found == [1, 1, 1, 0.25, 0.25, 0.1, 0.1]


def test_moments() -> None:
    optimizer = make_optimizer("sgd", [parameter()], 1.0)
    for schedule, moment in (("cosine", "update"), ("decay", "epoch"), (Schedule(lambda o: StepLR(o, 2), "epoch"), "epoch")):
        made = make_schedule(schedule, optimizer, 10)
        assert made is not None
        assert made[1] == moment
    assert make_schedule(None, optimizer, None) is None
    assert needs_total("cosine")
    assert not needs_total("cosine:updates=5")
    assert not needs_total("decay")
    assert not needs_total(None)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("cosine", r"needs the number of updates.*cosine:updates=10000"),
        ("linear:warmup=5,updates=5", "a warm-up of 5 updates does not fit into 5 updates"),
        ("decay:rate=", "rate must be a number"),
        ("decay:after=1.5", "after must be a whole number"),
        ("plateau:factor=2", "[Ff]actor"),
        ("step", "no schedule is called 'step'"),
    ],
)
def test_schedules_that_cannot_be(schedule: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_schedule(schedule, make_optimizer("sgd", [parameter()]), None)
    with pytest.raises(ValueError, match=r"Schedule\.every must be"):
        Schedule(lambda o: StepLR(o, 1), "batch")  # type: ignore[arg-type]
