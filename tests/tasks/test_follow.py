"""Following row by row gives the answers of the whole sequence at once."""

import io
import json
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bptt.cli.main import app
from bptt.data.rolls import read_rolls
from bptt.tasks.config import settle
from bptt.tasks.follow import answers
from bptt.tasks.forecast.config import ForecastSettings
from bptt.tasks.forecast.task import ForecastTask
from bptt.tasks.maintain.task import MaintainTask
from bptt.tasks.sequence.task import SequenceTask
from bptt.tasks.text.config import TextSettings
from bptt.tasks.text.task import TextTask
from tests.tasks.test_maintain_task import settings_of as maintain_settings, worn
from tests.tasks.test_sequence_task import settings_of as sequence_settings, turning


def trained(task, folder):
    task.fit(folder, progress=False)
    return task.open(folder)


def test_units_in_any_mixture(tmp_path):
    model = trained(MaintainTask(maintain_settings(worn(tmp_path / "a.csv"))), tmp_path / "run")
    present = worn(tmp_path / "now.csv", units=3, seed=4, ends=tmp_path / "ends.txt")
    names, *lines = present.read_text().splitlines()
    order = np.random.default_rng(0).permutation(len(lines))
    mixed = sorted(range(len(lines)), key=lambda i: (int(lines[i].split(",")[1]), order[i]))
    found = list(answers(model.follow(alarm=10.0), [names, "", *(lines[i] for i in mixed)]))
    last = {each["unit"]: each for each in found}
    whole = model.predict(str(present), alarm=10.0)
    assert len(found) == len(lines)
    assert [last[name]["left"] for name in whole.units.names] == [round(left, 2) for left in whole.left]
    assert all(each["alarm"] == (each["left"] <= 10) for each in found)
    as_json = [json.dumps(dict(zip(names.split(","), lines[i].split(","), strict=True))) for i in mixed]
    assert list(answers(model.follow(alarm=10.0), as_json)) == found


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["unit,cycle,wear", "a,1,0.5"], "line 2: nothing stands in noise"),
        (["unit,cycle,wear,noise", "a,1,0.5,x"], "line 2: noise is 'x', no finite number"),
        (["unit,cycle,wear,noise", "a,1,0.5,0", "a,1,0.5,0"], "line 3: unit a has cycle 1 after 1"),
        (["unit,cycle,wear,noise", "a,1,0.5"], "line 2: 3 cells under 4 names; expected a row as JSON"),
        (['{"unit": '], "line 1: .*expected a row as JSON"),
        (["[1, 2]"], "line 1: got list, expected the columns unit, cycle"),
    ],
)
def test_rows_that_do_not_fit(tmp_path_factory, lines, said):
    tmp_path = tmp_path_factory.mktemp("units")
    model = trained(MaintainTask(maintain_settings(worn(tmp_path / "a.csv", units=8), epochs=1)), tmp_path / "run")
    with pytest.raises(ValueError, match=said):
        list(answers(model.follow(), lines))


def test_a_row_that_is_refused_leaves_the_state_as_it_was(tmp_path):
    model = trained(MaintainTask(maintain_settings(worn(tmp_path / "a.csv", units=8), epochs=1)), tmp_path / "run")
    rows = [{"unit": "a", "cycle": n, "wear": n / 10, "noise": 0.0} for n in range(1, 4)]
    one, other = model.follow(), model.follow()
    one.step(rows[0])
    other.step(rows[0])
    with pytest.raises(ValueError, match="no finite number"):
        one.step({**rows[1], "wear": "?"})
    assert one.step(rows[1]) == other.step(rows[1])


def test_a_sequence_of_sets_and_another_after_it(tmp_path):
    model = trained(SequenceTask(sequence_settings(turning(tmp_path / "a.jsonl"))), tmp_path / "run")
    begun = turning(tmp_path / "b.jsonl", count=2, seed=5)
    sequences = [json.loads(line) for line in begun.read_text().splitlines()]
    found = list(answers(model.follow(), [*map(json.dumps, sequences[0]), "", *map(json.dumps, sequences[1])]))
    whole = model.predict(str(begun))
    for end, likely in zip((len(sequences[0]), len(found)), whole.likely, strict=True):
        assert found[end - 1]["next"] == [label for label, share in likely if share > 0.5]
        np.testing.assert_allclose(dict(found[end - 1]["probabilities"])[0], dict(likely)[0], atol=1e-5)
    roll = read_rolls(begun, model.labels).rolls[0]
    with torch.no_grad():
        y, _ = model.model(torch.from_numpy(roll[:, None]).float())
    for step, each in enumerate(found[: len(roll)]):
        shares = dict(each["probabilities"])
        np.testing.assert_allclose([shares[label] for label in model.labels], torch.sigmoid(y[step, 0]), atol=1e-5)
    with pytest.raises(ValueError, match="line 1: the label 99 is none of"):
        list(answers(model.follow(), ["[99]"]))
    with pytest.raises(ValueError, match=r"line 1: .*expected a step as JSON"):
        list(answers(model.follow(), ["60,64"]))


LINES = ["the cat sat on the mat.", "", "a dog, the cat", "the mat  sat on a dog!"]


@pytest.mark.parametrize("unit", ["character", "byte", "word", "subword"])
def test_lines_of_a_text(tmp_path, unit):
    (tmp_path / "a.txt").write_text("\n".join(LINES * 40) + "\n")
    options = {"data": str(tmp_path / "a.txt"), "unit": unit, "hidden": 8, "rows": 2, "epochs": 1, "through": "truncated:k1=5"}
    if unit == "subword":
        options["vocabulary"] = 280
    model = trained(TextTask(settle(TextSettings, options=options)), tmp_path / "run")
    found = list(answers(model.follow(), [line + "\n" for line in LINES]))
    assert [each["text"] for each in found] == LINES
    told = [(token, nats) for each in found for token, nats in each["tokens"]]
    ids = torch.tensor([int(each) for each in model.vocabulary.encode("\n" + "\n".join(LINES) + "\n")])
    with torch.no_grad():
        logits, _ = model.model(ids[:-1, None])
    expected = torch.log_softmax(logits[:, 0], -1)
    assert [token for token, _ in told] == [model.vocabulary.decode([each]) for each in ids[1:].tolist()]
    np.testing.assert_allclose([nats for _, nats in told], -expected.gather(1, ids[1:, None])[:, 0], atol=1e-5)
    np.testing.assert_allclose(
        [each["nats"] for each in found], [sum(n for _, n in each["tokens"]) for each in found], atol=1e-4
    )
    with torch.no_grad():
        logits, _ = model.model(ids[:, None])
    likely = torch.softmax(logits[-1, 0], 0).sort(descending=True)
    assert found[-1]["next"][0][0] == model.vocabulary.decode([int(likely.indices[0])])
    np.testing.assert_allclose([share for _, share in found[-1]["next"]], likely.values[:5], atol=1e-5)


def test_a_line_that_cannot_be_read_leaves_the_state_as_it_was(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(LINES * 40))
    options = {"data": str(tmp_path / "a.txt"), "hidden": 8, "rows": 2, "epochs": 1, "through": "truncated:k1=5"}
    model = trained(TextTask(settle(TextSettings, options=options)), tmp_path / "run")
    one, other = model.follow(), model.follow()
    with pytest.raises(ValueError, match=r"line 2: .*'Ω'"):
        list(answers(one, ["the cat", "the Ω cat"]))
    with pytest.raises(ValueError, match="expected a line of text"):
        one.step(["the"])
    other.step("the cat")
    assert one.step("sat") == other.step("sat")


def series(path, step, rows=160):
    stamps = np.arange("2020-01-01", rows, dtype="datetime64[D]") if step == "D" else None
    if step == "M":
        stamps = (np.arange("1990-02", rows, dtype="datetime64[M]")).astype("datetime64[D]") - np.timedelta64(1, "D")
    values = np.sin(np.arange(rows) / 3) + 0.1 * np.random.default_rng(0).normal(size=rows)
    lines = ["date,load,other", *(f"{stamp},{value:.4f},{-value:.3f}" for stamp, value in zip(stamps, values, strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("step", ["D", "M"])
@pytest.mark.parametrize("norm", ["none", "window"])
def test_a_table_that_grows(tmp_path, step, norm):
    path = series(tmp_path / "load.csv", step)
    options = {"data": str(path), "target": ["load"], "past": ["other"], "history": 20, "horizon": 3, "epochs": 1, "hidden": 8}
    model = trained(ForecastTask(settle(ForecastSettings, options={**options, "norm": norm})), tmp_path / "run")
    names, *lines = path.read_text().splitlines()
    found = list(answers(model.follow(), [names, *lines[-20:]]))
    assert len(found) == (20 if step == "D" else 18)
    whole = model.predict().columns()
    assert found[-1].pop("after") == lines[-1].split(",")[0]
    assert found[-1].keys() == whole.keys()
    assert found[-1]["time"] == whole["time"]
    for name in whole.keys() - {"time"}:
        np.testing.assert_allclose(found[-1][name], whole[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"date": "2020-01-01", "load": 1, "other": 1}, {"date": "2020-01-03", "load": 1, "other": 1}], "rows are 1d apart"),
        ([{"date": "2020-01-02", "load": 1, "other": 1}, {"date": "2020-01-01", "load": 1, "other": 1}], "no later than"),
        ([{"date": "2020-01-02", "load": None, "other": 1}], "load of 2020-01-02 is missing"),
        ([{"date": "2020-01-02", "load": 1}], "there is no 'other'"),
        ([{"load": 1, "other": 1}], "nothing stands in date"),
    ],
)
def test_rows_of_a_table_that_do_not_fit(tmp_path, rows, said):
    path = series(tmp_path / "load.csv", "D")
    options = {"data": str(path), "target": ["load"], "past": ["other"], "history": 20, "epochs": 1, "hidden": 4}
    model = trained(ForecastTask(settle(ForecastSettings, options=options)), tmp_path / "run")
    with pytest.raises(ValueError, match=said):
        list(answers(model.follow(), map(json.dumps, rows)))


def test_the_command(tmp_path, monkeypatch, capsys):
    trained(SequenceTask(sequence_settings(turning(tmp_path / "a.jsonl"))), tmp_path / "run")
    done = CliRunner().invoke(app, ["predict", str(tmp_path / "run"), "--follow"], input="[0]\n[1, 7]\n")
    assert done.exit_code == 0, done.output
    assert [sorted(json.loads(line)) for line in done.stdout.splitlines()] == [["next", "probabilities"]] * 2
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    refused = CliRunner().invoke(app, ["predict", str(tmp_path / "run"), "--follow", "--data", "x.jsonl"])
    assert refused.exit_code == 2
    assert "--follow reads standard input" in refused.output
