"""A text model that leaves its readout to the loss: the same numbers by every strategy, and the same runs."""

import json

import pytest
import torch

import bptt
from bptt.tasks.text import task as text_task
from bptt.tasks.text.config import TextSettings
from bptt.tasks.text.model import TextModel
from bptt.tasks.text.task import TextTask


@pytest.mark.parametrize(
    "through",
    [bptt.Full(), bptt.Checkpointed(slots=3), bptt.Truncated(4), bptt.Truncated(3, 7), bptt.Randomized(5), bptt.RTRL()],
    ids=lambda through: type(through).__name__,
)
@pytest.mark.parametrize("tie", [False, True])
def test_every_strategy_finds_the_same_gradients(through, tie):
    model = TextModel(13, hidden=5, embed=5, tie=tie).double()
    x, target = torch.randint(13, (11, 3)), torch.randint(13, (11, 3))
    torch.manual_seed(1)
    plain = gradients(model, bptt.CrossEntropy(), (x, target), through)
    torch.manual_seed(1)
    with model.leaving_readout() as loss:
        ours = gradients(model, loss, (x, target), through)
    assert len(ours) == len(plain)
    for mine, expected in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-12)


def gradients(model, loss, sequence, through):
    found = []
    for window in bptt.backprop(model, loss, sequence, through=through):
        found += [window.loss, *(p.grad.clone() for p in model.parameters())]
        model.zero_grad()
    return found


def test_what_is_not_trained_gives_logits():
    model = TextModel(13, hidden=5, embed=4)
    x, target = torch.randint(13, (6, 2)), torch.randint(13, (6, 2))
    expected = bptt.evaluate(model, bptt.CrossEntropy(), (x, target))
    with model.leaving_readout() as loss:
        assert model(x)[0].shape == (6, 2, 5)
        assert model.eval()(x)[0].shape == (6, 2, 13)
        torch.testing.assert_close(bptt.evaluate(model.train(), loss, (x, target)).loss, expected.loss)
    assert model(x)[0].shape == (6, 2, 13)
    assert list(loss.parameters()) == []


def test_a_run_goes_on_with_either(tmp_path, monkeypatch):
    text = tmp_path / "words.txt"
    text.write_text("the cat sat on the mat and the dog sat on the cat . " * 40)
    settings = TextSettings(
        data=str(text), unit="word", hidden=8, rows=2, epochs=1, through="truncated:k1=8", dropout=0.0, valid=0.1
    )
    found = {}
    for name, limits in {"plain": (10**9, 10**9), "fused": (2, 2), "mixed": (10**9, 2)}.items():
        for epochs, limit in zip((1, 2), limits, strict=True):
            monkeypatch.setattr(text_task, "_LARGE", limit)
            task = TextTask(settings.model_copy(update={"epochs": epochs}), tmp_path / name)
            found[name] = task.fit(tmp_path / name, progress=False)
            assert type(task.loss) is bptt.CrossEntropy
        assert json.loads((tmp_path / name / "config.json").read_text())["run"]["loss"] == "CrossEntropy()"
    lines = [[line["loss"] for line in result.history if "loss" in line] for result in found.values()]
    assert lines[1] == pytest.approx(lines[0], rel=1e-4)
    assert lines[2] == pytest.approx(lines[0], rel=1e-4)
    assert "".join(TextTask.open(tmp_path / "fused").generate("the", 5, seed=0))
