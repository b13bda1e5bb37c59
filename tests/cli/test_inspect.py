import json
import re
import shutil

import pytest

from tests.cli.conftest import SMALL
from tests.cli.test_bad_input import table


def data_in(path):
    page = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S).group(1))


def test_the_report_of_a_text_run(bptt, trained):
    result = bptt("inspect", trained, "--steps", "40", "--rows", "2")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == f"page     {trained / 'report.html'}\n"
    data = data_in(trained / "report.html")
    assert data["missing"] == {}
    assert data["through"] == "truncated:k1=16,k2=16"
    assert data["curves"]["clip"] == 1.0
    assert data["unit"] == "nats"
    assert (data["flow"]["steps"], data["flow"]["rows"], data["flow"]["k2"]) == (40, 2, 16)
    assert data["flow"]["exact"]
    assert [each["name"] for each in data["units"]["layers"]] != []
    assert data["spectra"]["charts"][-1]["title"] == "Lyapunov exponents"
    assert data["advice"] != []
    facts = dict(data["facts"])
    assert facts["looked at"].startswith("40 steps of 2 rows")


def test_the_report_of_a_forecast(bptt, here):
    table(here)
    made = bptt("train", "forecast", "--data", "table.csv", "--out", "run", "--hidden", "4", "--epochs", "1")
    assert made.exit_code == 0, made.stderr
    result = bptt("inspect", "run", "--out", "new/page.html")
    assert result.exit_code == 0, result.stderr
    data = data_in(here / "new" / "page.html")
    assert data["missing"] == {}
    assert data["flow"]["k2"] is None
    assert data["flow"]["contributions"]["all"]
    assert not (here / "run" / "report.html").exists()


def test_the_run_stays_as_it_is(bptt, trained):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    assert bptt("inspect", trained, "--out", "page.html", "--steps", "20", "--rows", "1").exit_code == 0
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("spoil", "parts", "said"),
    [
        (lambda run: (run / "log.jsonl").unlink(), {"log"}, "log.jsonl is missing or empty"),
        (lambda run: shutil.rmtree(run / "checkpoints"), {"flow", "spectra", "units"}, "no checkpoint"),
        (lambda run: (run / "vocabulary.json").write_text("{"), {"flow", "spectra", "units"}, "vocabulary.json"),
    ],
    ids=["log", "checkpoints", "vocabulary"],
)
def test_what_is_missing_in_a_folder_is_said_and_the_rest_is_shown(bptt, trained, spoil, parts, said):
    spoil(trained)
    result = bptt("inspect", trained, "--out", "page.html", "--steps", "20", "--rows", "1")
    assert result.exit_code == 0
    assert said in result.stderr
    data = data_in(trained.parent / "page.html")
    assert set(data["missing"]) == parts
    assert all(said in why for why in data["missing"].values())
    assert (data["curves"] is None) == ("log" in parts)
    assert (data["flow"] is None) == ("flow" in parts)


def test_data_that_have_moved(bptt, trained, text, here):
    record = json.loads((trained / "config.json").read_text())
    record["config"]["session"]["data"] = "gone.txt"
    (trained / "config.json").write_text(json.dumps(record))
    result = bptt("inspect", trained, "--out", "page.html", "--steps", "20", "--rows", "1")
    assert "gone.txt, is not there: say where it is now, --data FILE" in result.stderr
    assert data_in(here / "page.html")["curves"] is not None
    result = bptt("inspect", trained, "--out", "page.html", "--steps", "20", "--rows", "1", "--data", text)
    assert "missing" not in result.stderr
    assert data_in(here / "page.html")["missing"] == {}


def test_a_run_made_in_python_shows_its_log(bptt, here):
    import torch

    import bptt as library

    x = torch.randn(40, 2, 3)
    run = library.Run(library.nn.RNN(3, 2), library.SquaredError(), (x, x[..., :2]), folder="run",
                      through=library.Truncated(5), logs=library.train.Logs(every=1, progress=False))  # fmt: skip
    run.fit(epochs=3)
    result = bptt("inspect", "run")
    assert result.exit_code == 0
    data = data_in(here / "run" / "report.html")
    assert "made in Python" in data["missing"]["flow"]
    assert len(data["curves"]["loss"]) == 24


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["run", "--out", "."], "is a directory"),
        (["run", "--steps", "1"], "--steps"),
        (["run", "--rows", "0"], "--rows"),
    ],
)
def test_misuse_is_one_line_and_writes_nothing(bptt, trained, arguments, said):
    before = sorted(trained.parent.iterdir())
    result = bptt("inspect", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(trained.parent.iterdir()) == before
    assert not (trained / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--which", "foo"], "foo"), (["--which", "7"], "7"), (["--data", "nowhere.txt"], "nowhere.txt")],
)
def test_a_mistyped_option_leaves_the_page_that_is_there(bptt, trained, arguments, said):
    (trained / "report.html").write_text("a good page")
    result = bptt("inspect", trained, "--steps", "20", "--rows", "1", *arguments)
    assert result.exit_code != 0
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert (trained / "report.html").read_text() == "a good page"


@pytest.fixture
def looks(monkeypatch):
    """A run looks every fifth update, however short it is."""
    from bptt.observe.every import Observer

    monkeypatch.setattr(Observer, "due", lambda self, update: update % 5 == 0)
    monkeypatch.setattr(Observer, "_estimate", lambda self, piece: 1.0)


def test_a_run_that_was_asked_for_looks_and_came_to_none_says_so(bptt, here, text):
    asked = ["train", "text", "--data", text, "--out", "run", *SMALL, "--observe", "100000"]
    assert bptt(*asked).exit_code == 0
    assert bptt("inspect", "run").exit_code == 0
    assert "every 100,000 updates, and came to no look" in data_in(here / "run" / "report.html")["missing"]["observed"]


def test_a_run_that_is_observed_says_what_it_saw_and_the_report_shows_it(bptt, here, text, looks):
    asked = ["train", "text", "--data", text, "--out", "run", *SMALL, "--clip", "1e-6", "--observe", "5"]
    made = bptt(*asked)
    assert made.exit_code == 0, made.stderr
    assert "update 5: clipping is active in 100% of the updates" in made.stderr
    before = [json.loads(line)["update"] for line in (here / "run" / "observe.jsonl").read_text().splitlines()]
    assert before[:2] == [5, 10]
    again = bptt("train", "text", "--out", "run", "--epochs", "3")
    assert again.exit_code == 0, again.stderr
    after = [json.loads(line)["update"] for line in (here / "run" / "observe.jsonl").read_text().splitlines()]
    assert after[: len(before)] == before
    assert len(after) > len(before)
    assert bptt("inspect", "run", "--steps", "20", "--rows", "1").exit_code == 0
    observed = data_in(here / "run" / "report.html")["observed"]
    assert [update for update, _ in observed["series"]["horizon"]] == after
    assert [at for *at, text in observed["warnings"] if "clipping is active in 100%" in text] == [[5, after[-1], len(after)]]


def test_looking_can_be_left_out_when_a_run_goes_on(bptt, here, text, looks):
    assert bptt("train", "text", "--data", text, "--out", "run", *SMALL, "--observe", "5").exit_code == 0
    lines = (here / "run" / "observe.jsonl").read_text()
    assert bptt("train", "text", "--out", "run", "--epochs", "3", "--observe", "0").exit_code == 0
    assert (here / "run" / "observe.jsonl").read_text() == lines


@pytest.mark.parametrize("wrong", ["-1", "often", "0.5"])
def test_an_observe_that_is_no_number_of_updates_is_refused(bptt, here, text, wrong):
    result = bptt("train", "text", "--data", text, "--out", "run", "--observe", wrong)
    assert result.exit_code == 2
    assert "--observe" in result.stderr
    assert not (here / "run").exists()
