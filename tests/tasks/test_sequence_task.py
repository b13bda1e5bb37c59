import json
import math

import numpy as np
import pytest
import torch

import bptt
from bptt.tasks.config import settle
from bptt.tasks.sequence.config import SequenceSettings
from bptt.tasks.sequence.model import LabelsCrossEntropy, SequenceModel, surprise
from bptt.tasks.sequence.parts import pairs, read_parts
from bptt.tasks.sequence.score import Counts, score
from bptt.tasks.sequence.task import SequenceTask
from bptt.tasks.task import NothingHeldOut


def turning(path, count=40, parts=None, seed=0):
    """Sequences in which 0, 1, 2 follow each other in a circle, and 7 is there at odd steps."""
    rng = np.random.default_rng(seed)
    with path.open("w") as file:
        for number in range(count):
            start = int(rng.integers(3))
            steps = [[(start + t) % 3] + [7] * (t % 2) for t in range(int(rng.integers(6, 14)))]
            line = steps if parts is None else {"steps": steps, "part": parts[number % len(parts)]}
            file.write(json.dumps(line) + "\n")
    return path


def settings_of(path, **how):
    return settle(SequenceSettings, options={"data": str(path), "hidden": 16, "epochs": 2, "rows": 8, **how})


def test_it_learns_what_counting_cannot(tmp_path):
    task = SequenceTask(settings_of(turning(tmp_path / "a.jsonl"), epochs=40, lr=0.02, dropout=0.0, input_dropout=0.0))
    task.fit(tmp_path / "run", progress=False)
    trained = task.open(tmp_path / "run")
    scores = trained.evaluate().figures["scores"]
    assert scores["this model"]["nats"] < 0.5 < scores["each label after itself"]["nats"]
    assert scores["this model"]["interval"][0] <= scores["this model"]["nats"] <= scores["this model"]["interval"][1]
    assert scores["this model"]["accuracy"] > 0.9
    roll = np.array([[1, 0, 0, 0], [0, 1, 0, 1]], dtype=np.uint8)  # 0, then 1 with 7
    said = trained.next_step(roll)
    assert said[0][0] == 2
    assert {label for label, _ in said} == {0, 1, 2, 7}


def test_its_figure_is_the_mean_over_all_steps_of_all_sequences(tmp_path):
    rng = np.random.default_rng(0)
    rolls = [(rng.random((length, 4)) < 0.4).astype(np.uint8) for length in (3, 9, 2)]
    torch.manual_seed(0)
    model = SequenceModel(4, hidden=5).eval()
    found = score(model, rolls, "it", Counts.fit(rolls)).figures
    window = bptt.evaluate(model, LabelsCrossEntropy(), pairs(rolls).piece([0, 1, 2]))
    assert found["count"] == window.count == 2 + 8 + 1
    assert math.isclose(found["nats"], float(window.loss) / window.count, rel_tol=1e-5)
    with torch.no_grad():
        each = [(torch.from_numpy(roll[:-1, None]).float(), torch.from_numpy(roll[1:, None]).float()) for roll in rolls]
        alone = sum(float(surprise(model(x)[0], target).sum()) for x, target in each)
    assert math.isclose(found["nats"], alone / 11, rel_tol=1e-5)


def test_counting_gives_the_shares_it_has_seen():
    roll = np.array([[1, 0], [1, 0], [0, 0], [1, 1]], dtype=np.uint8)
    counts = Counts.fit([roll])
    np.testing.assert_allclose(counts.share, [(2 + 0.5) / 4, (1 + 0.5) / 4])
    np.testing.assert_allclose(counts.after, [(1 + 0.5) / 3, 0.5 / 1])
    np.testing.assert_allclose(counts.anew, [(1 + 0.5) / 2, (1 + 0.5) / 4])


def test_parts_are_those_of_the_file_where_it_says_so(tmp_path):
    path = turning(tmp_path / "a.jsonl", parts=["train", "train", "valid", "test"])
    parts = read_parts(settings_of(path))
    assert [len(parts.train), len(parts.valid), len(parts.test)] == [20, 10, 10]
    with pytest.raises(ValueError, match="says itself which sequences are test"):
        read_parts(settings_of(path, test=0.2))


def test_parts_are_drawn_where_the_file_is_silent(tmp_path):
    path = turning(tmp_path / "a.jsonl")
    one, same, other = (read_parts(settings_of(path, seed=seed)) for seed in (0, 0, 1))
    assert [len(one.train), len(one.valid), len(one.test)] == [32, 4, 4]
    assert [roll.tolist() for roll in one.test] == [roll.tolist() for roll in same.test]
    assert [roll.tolist() for roll in one.test] != [roll.tolist() for roll in other.test]
    assert len(read_parts(settings_of(path, valid=0.5, test=0.0)).valid) == 20


def test_a_file_of_its_own_may_be_held_out(tmp_path):
    path = turning(tmp_path / "a.jsonl")
    parts = read_parts(settings_of(path, valid=str(turning(tmp_path / "b.jsonl", count=3, seed=1)), test=0))
    assert [len(parts.train), len(parts.valid), len(parts.test)] == [40, 3, 0]


def test_sequences_too_short_to_learn_from_are_left_out_and_told(tmp_path):
    path = turning(tmp_path / "a.jsonl")
    path.write_text("[]\n[[1]]\n" + path.read_text())
    task = SequenceTask(settings_of(path, valid=0.0, test=0.0))
    assert task.parts.short == 2
    assert "2 shorter than two steps are left out" in dict(task.describe())["data"]
    with pytest.raises(ValueError, match="leaves no sequence of two steps or more"):
        read_parts(settings_of(path, valid=str(path), test=0.99))


def test_a_run_goes_on_to_the_same_bits(tmp_path):
    path = turning(tmp_path / "a.jsonl")
    whole, half = tmp_path / "whole", tmp_path / "half"
    SequenceTask(settings_of(path, epochs=4, schedule="constant"), whole).fit(whole, progress=False)
    SequenceTask(settings_of(path, epochs=2, schedule="constant"), half).fit(half, progress=False)
    SequenceTask(settings_of(path, epochs=4, schedule="constant"), half).fit(half, progress=False)
    one, other = (SequenceTask.open(folder, "last").model.state_dict() for folder in (whole, half))
    for name, weights in one.items():
        assert weights.equal(other[name]), name


def test_every_strategy_gives_the_same_first_update(tmp_path):
    path = turning(tmp_path / "a.jsonl")
    grads = {}
    for through in ("full", "checkpointed:slots=2", "truncated:k1=20"):
        task = SequenceTask(settings_of(path, dropout=0.0, input_dropout=0.0, through=through))
        piece = next(task.source.epoch(0))
        list(bptt.backprop(task.model, task.loss, piece, through=bptt.through.parse(through)))
        grads[through] = torch.cat([p.grad.flatten() for p in task.model.parameters()])
    for through, found in grads.items():
        torch.testing.assert_close(found, grads["full"], msg=through)


def test_nothing_held_out_is_said_and_a_changed_file_is_noticed(tmp_path):
    path = turning(tmp_path / "a.jsonl")
    task = SequenceTask(settings_of(path, valid=0.0, test=0.0))
    task.fit(tmp_path / "run", progress=False)
    trained = task.open(tmp_path / "run")
    with pytest.raises(NothingHeldOut):
        trained.evaluate()
    assert trained.evaluate(str(turning(tmp_path / "b.jsonl", count=5, seed=2))).figures["sequences"] == 5
    turning(path, seed=3)
    with pytest.raises(ValueError, match="has changed since this run learned from it"):
        trained.evaluate()
    path.unlink()  # what is counted beside the network is kept by the run
    assert trained.evaluate(str(tmp_path / "b.jsonl")).figures["sequences"] == 5


def test_a_network_that_knows_nothing_says_the_shares():
    model = SequenceModel(3, hidden=4)
    model.start_at(torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(torch.sigmoid(model.readout.bias), torch.tensor([0.1, 0.5, 0.9]))


def test_the_loss_refuses_shapes_that_differ():
    with pytest.raises(ValueError, match="they need one shape"):
        LabelsCrossEntropy()(torch.zeros(2, 1, 3), torch.zeros(2, 3))


def test_every_sequence_has_its_answer_in_order(tmp_path):
    path = turning(tmp_path / "a.jsonl")
    task = SequenceTask(settings_of(path))
    task.fit(tmp_path / "run", progress=False)
    asked = tmp_path / "asked.jsonl"
    asked.write_text("[[0], [1, 7]]\n[]\n[[2]]\n")
    found = task.open(tmp_path / "run").predict(str(asked))
    lines = [json.loads(line) for line in found.file("jsonl").decode().splitlines()]
    assert [line["steps"] for line in lines] == [2, 0, 1]
    assert lines[1]["next"] == lines[1]["probabilities"] == []
    for line in (lines[0], lines[2]):
        assert sorted(label for label, _ in line["probabilities"]) == [0, 1, 2, 7]
        assert line["next"] == [label for label, share in line["probabilities"] if share > 0.5]
    with pytest.raises(ValueError, match="say which sequences"):
        task.open(tmp_path / "run").predict()
