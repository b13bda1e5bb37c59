from pathlib import Path

import pytest

from bptt.tasks.config import settle
from bptt.tasks.forecast.config import ForecastSettings
from bptt.tasks.registry import entry, tasks
from bptt.tasks.text.config import TextSettings


def test_the_later_wins(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('data = "a.txt"\nhidden = 10\nrows = 2\nlr = 1\ncell = "gru"\n')
    made = settle(TextSettings, file=file, sets=["rows=3", "lr=0.5"], options={"lr": 0.25, "epochs": None})
    assert (made.cell, made.hidden, made.rows, made.lr, made.epochs) == (
        "gru",
        10,
        3,
        0.25,
        TextSettings.model_fields["epochs"].default,
    )


def test_files_become_absolute_so_that_a_run_goes_on_from_anywhere():
    made = settle(TextSettings, options={"data": "a.txt", "valid": "0.1", "test": "b.txt"})
    assert made.data == str(Path("a.txt").absolute())
    assert made.valid == 0.1
    assert made.test == str(Path("b.txt").absolute())


def test_the_strategy_is_kept_in_full():
    assert settle(TextSettings, options={"data": "a", "through": "truncated:k1=8"}).through == "truncated:k1=8,k2=8"


def test_an_amount_is_a_share_rows_or_a_duration():
    made = settle(ForecastSettings, options={"data": "a.csv", "valid": "30", "test": "2y"})
    assert made.valid == 30
    assert isinstance(made.valid, int)
    assert made.test == "2y"


def test_a_text_that_looks_like_a_number_stays_a_text():
    assert settle(ForecastSettings, sets=["separator=1"], options={"data": "a.csv"}).separator == "1"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"sets": ["hiden=3"]}, r"unknown setting 'hiden' \(--set hiden=3\) \(did you mean 'hidden'\?\)"),
        ({"sets": ["hidden"]}, "expected key=value"),
        ({"sets": ["hidden=4.5"]}, r"--hidden .*4\.5.*--set hidden=4\.5"),
        ({"options": {"hidden": 0}}, "--hidden .*1, got 0"),
        ({"options": {"cell": "tree"}}, "--cell .*'lstm', 'gru' or 'rnn'.*'tree'"),
        ({"options": {"through": "truncated:k1=0"}}, "--through: k1 must be a whole number of at least 1, got 0"),
        ({"options": {"through": "truncated:k1=2.5"}}, "k1 must be a whole number"),
        ({"options": {"through": "truncatd:k1=2"}}, "did you mean 'truncated'"),
        ({"options": {"valid": "1.5"}}, "--valid: .*1.5"),
        ({"options": {"dropout": 1.0}}, "--dropout .*less than 1"),
        ({"options": {"data": None}}, "--data is needed"),
    ],
)
def test_what_is_wrong_is_named_with_where_it_was_given(how, said):
    given = {"options": {}, **how}
    given["options"] = {"data": "a.txt", **given["options"]}
    with pytest.raises(ValueError, match=said):
        settle(TextSettings, **given)


def test_a_file_of_settings_is_read_strictly(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('hidden = "ten"\n')
    with pytest.raises(ValueError, match=r"--hidden .*'ten' \(in .*settings.toml\)"):
        settle(TextSettings, file=file, options={"data": "a"})
    file.write_text("hidden = \n")
    with pytest.raises(ValueError, match="is not TOML"):
        settle(TextSettings, file=file)
    with pytest.raises(FileNotFoundError, match=r"nothing\.toml"):
        settle(TextSettings, file=tmp_path / "nothing.toml")


def test_every_task_of_the_registry_can_be_loaded():
    for task in tasks.values():
        assert task.load_task().name == task.name
        assert task.load_settings().model_fields["data"].is_required()
    with pytest.raises(ValueError, match="did you mean 'text'"):
        entry("txt")
