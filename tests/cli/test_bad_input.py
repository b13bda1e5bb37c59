"""Every bad input is one clear line and exit code 2 (or 1, where the work failed), and leaves nothing behind."""

import json
import re
import shutil

import pytest
from filelock import FileLock

from bptt.train import load_weights
from tests.cli.conftest import SMALL, write_text

DAYS = [f"2001-{m:02}-{d:02}" for m in range(1, 13) for d in range(1, 29)]


def table(here, edit=lambda rows: rows, header="day,level"):
    rows = edit([f"{day},{i % 7}.5" for i, day in enumerate(DAYS)])
    (here / "table.csv").write_text("\n".join([header, *rows]) + "\n")
    return here / "table.csv"


def refused(result, here, before, said, code=2):
    assert result.exit_code == code, result.stdout + result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert re.search(said, lines[0]), lines[0]
    assert lines[0].startswith("bptt: ")
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in here.iterdir()) == before


TEXTS = {
    "missing": (None, [], r"there is no file .*text\.txt"),
    "empty": (b"", [], "is empty"),
    "binary": (b"abc\0def" * 100, [], "binary file: byte 3"),
    "not utf-8": (b"caf\xe9 " * 500, [], r"byte 0xe9 at offset 3.*--encoding latin-1"),
    "unknown encoding": (b"abc " * 500, ["--encoding", "utf-9"], "utf-9"),
    "too short for the rows": (b"abcdef" * 4, ["--rows", "64", "--valid", "0"], r"24 tokens are too few for 64 rows"),
    "too short to hold out": (b"abcdef", [], r"too few"),
    "k1": (b"abc " * 500, ["--through", "truncated:k1=0"], "k1 must be a whole number of at least 1, got 0"),
    "k2": (b"abc " * 500, ["--through", "truncated:k1=4,k2=-1"], "k2 must be a whole number of at least 1, got -1"),
    "k1 not whole": (b"abc " * 500, ["--through", "truncated:k1=2.5"], "k1 must be a whole number.*2.5"),
    "no such strategy": (b"abc " * 500, ["--through", "trunkated"], "did you mean 'truncated'"),
    "tied sizes": (b"abc " * 500, ["--tie", "--embed", "5", "--hidden", "6"], "5 and 6"),
    "backend": (b"abc " * 500, ["--backend", "gpu"], "'gpu'.*'torch'.*'reference'"),
    "backend that cannot": (b"abc " * 500, ["--backend", "torch", "--clip-step", "1"], "clip_step"),
    "optimizer": (b"abc " * 500, ["--optimizer", "adamm"], "did you mean 'adam'"),
    "schedule": (b"abc " * 500, ["--schedule", "cosin"], "did you mean 'cosine'"),
    "plateau": (b"abc " * 500, ["--schedule", "plateau", "--valid", "0"], "validation"),
    "no such option": (b"abc " * 500, ["--hiden", "3"], "--hiden"),
    "no such setting": (b"abc " * 500, ["--set", "hiden=3"], "did you mean 'hidden'"),
    "no such cell": (b"abc " * 500, ["--cell", "tree"], "'lstm'"),
    "not a number": (b"abc " * 500, ["--hidden", "many"], "--hidden"),
    "vocabulary of characters": (b"abc " * 500, ["--vocabulary", "100"], "size"),
    "small vocabulary": (b"abc " * 500, ["--unit", "subword", "--vocabulary", "100"], "257"),
    "valid beyond": (b"abc " * 500, ["--valid", "0.6", "--test", "0.5"], "leave nothing to train on"),
    "no such config": (b"abc " * 500, ["--config", "none.toml"], r"none\.toml"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_text_or_setting_that_cannot_be(here, bptt, case):
    content, how, said = TEXTS[case]
    if content is not None:
        (here / "text.txt").write_bytes(content)
    before = sorted(path.name for path in here.iterdir())
    refused(bptt("train", "text", "--data", "text.txt", "--out", "runs/x", *how), here, before, said)


TABLES = {
    "no such column": ({}, ["--target", "levle"], r"levle.*'level'.*|levle.*level"),
    "no such time": ({}, ["--time", "dya"], r"dya"),
    "unparsable date": ({"edit": lambda r: [*r[:5], "soon,3", *r[6:]]}, [], r"row 6.*'soon'"),
    "unsorted": ({"edit": lambda r: [*r[:5], r[7], *r[5:7], *r[8:]]}, [], "earlier"),
    "twice": ({"edit": lambda r: [*r[:5], r[4], *r[5:]]}, [], "same time stamp"),
    "nothing in a column": (
        {"edit": lambda r: [x + "," for x in r], "header": "day,level,other"}, ["--target", "other"], "no value",
    ),
    "not a number": ({"edit": lambda r: [*r[:9], DAYS[9] + ",high", *r[10:]]}, [], r"row 10.*'high'"),
    "missing values": ({"edit": lambda r: [*r[:9], DAYS[9] + ",", *r[10:]]}, [], "--missing"),
    "fewer rows than a window": ({"edit": lambda r: r[:40]}, ["--history", "60"], r"history 60 and horizon 1 need 61"),
    "no row": ({"edit": lambda r: []}, [], "row"),
    "quantiles": ({}, ["--quantiles", "0.1"], "0.5"),
    "test part": ({}, ["--test", "9y"], "9y"),
    "all held out": ({}, ["--test", "0.6", "--valid", "0.5"], "valid=0.5 is 168 rows, but 134 rows"),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_a_table_that_cannot_be(here, bptt, case):
    made, how, said = TABLES[case]
    data = table(here, **made)
    before = sorted(path.name for path in here.iterdir())
    refused(bptt("train", "forecast", "--data", data, "--out", "runs/x", "--gaps", "keep", *how), here, before, said)


def test_no_data_at_all(here, bptt):
    refused(bptt("train", "text"), here, [], "--data is needed")
    refused(bptt("train", "text", "--out", "runs/x"), here, [], "no run in runs/x to go on with.*--data")


def test_no_such_command_or_task(here, bptt):
    refused(bptt("trian", "text"), here, [], "trian.*'train'")
    refused(bptt("train", "txt"), here, [], "did you mean 'text'.*one of text, forecast")


def test_a_folder_that_is_not_ours_is_left_alone(here, text, bptt):
    (here / "mine").mkdir()
    (here / "mine" / "letter.txt").write_text("dear")
    (here / "file").write_text("x")
    for out, said in (("mine", "not the folder of a run"), ("file", "is a file")):
        refused(bptt("train", "text", "--data", text, "--out", out, *SMALL), here, ["file", "mine"], said)
    assert [path.name for path in (here / "mine").iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("command", [("evaluate",), ("generate",), ("predict",)])
def test_using_what_is_no_run(here, bptt, command):
    refused(bptt(*command, "none"), here, [], "none does not exist")
    (here / "empty").mkdir()
    refused(bptt(*command, "empty"), here, ["empty"], "not the folder of a run")


def test_a_run_of_another_task(trained, here, bptt):
    data = table(here)
    before = sorted(path.name for path in here.iterdir())
    refused(bptt("train", "forecast", "--data", data, "--out", trained), here, before, "task 'text'")
    refused(bptt("predict", trained), here, before, "reads lines as they come.*--follow.*: bptt generate")


def test_a_run_of_another_version(trained, here, bptt):
    record = json.loads((trained / "config.json").read_text())
    (trained / "config.json").write_text(json.dumps({**record, "format": 99, "bptt": "9.9"}))
    for command in (("train", "text", "--out"), ("evaluate",), ("generate",)):
        refused(bptt(*command, trained), here, ["run"], "format 99 by bptt 9.9")


def test_a_half_written_run(trained, here, bptt):
    shutil.rmtree(trained / "checkpoints")
    for command in (("train", "text", "--out"), ("evaluate",)):
        refused(bptt(*command, trained), here, ["run"], "half-written")


def test_a_run_in_use_by_another_process(trained, here, bptt):
    with FileLock(trained / ".lock"):
        result = bptt("train", "text", "--out", trained, "--epochs", "9")
    refused(result, here, ["run"], "in use by another process")


def test_a_checkpoint_that_fails_its_checksum(trained, here, bptt):
    newest = sorted((trained / "checkpoints").iterdir())[-1]
    content = bytearray((newest / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (newest / "model.safetensors").write_bytes(content)
    refused(bptt("evaluate", trained, "--which", "last"), here, ["run"], "fails its checksum.*before it is good", code=1)
    assert bptt("train", "text", "--out", trained, "--epochs", "9").exit_code == 1


def test_a_vocabulary_that_is_damaged_or_gone(trained, here, bptt):
    (trained / "vocabulary.json").write_text("[")
    refused(bptt("generate", trained), here, ["run"], r"vocabulary\.json is damaged")
    (trained / "vocabulary.json").unlink()
    refused(bptt("generate", trained), here, ["run"], r"no vocabulary\.json")
    assert bptt("train", "text", "--out", trained).exit_code == 0
    assert bptt("generate", trained, "-n", "3").exit_code == 0


def test_a_text_that_has_changed_since(trained, here, bptt):
    data = write_text(here / "own.txt")
    assert bptt("train", "text", "--data", data, "--out", "own", *SMALL).exit_code == 0
    kept = (here / "own" / "vocabulary.json").read_bytes()
    data.write_text(data.read_text().replace("king", "gink"))
    before = sorted(path.name for path in here.iterdir())
    result = bptt("train", "text", "--out", "own", "--epochs", "9")
    refused(result, here, before, "own holds another run.*data")
    assert (here / "own" / "vocabulary.json").read_bytes() == kept


def test_a_character_the_model_has_not_seen(trained, here, bptt):
    refused(bptt("generate", trained, "--prompt", "Ж"), here, ["run"], "'Ж'.*--unit byte")
    (here / "x.txt").write_text("the man Ж")
    refused(bptt("evaluate", trained, "--data", "x.txt"), here, ["run", "x.txt"], "x.txt holds 'Ж'.*character 8")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (["--temperature", "-1"], "temperature"),
        (["--top-p", "0"], "top_p"),
        (["--top-k", "0"], "top_k"),
        (["-n", "-5"], "length"),
        (["--which", "7"], "no checkpoint 7"),
        (["--which", "newest"], "no checkpoint 'newest'"),
    ],
)
def test_sampling_that_cannot_be(trained, here, bptt, how, said):
    refused(bptt("generate", trained, *how), here, ["run"], said)


def test_a_loss_that_diverges_stops_with_advice_and_keeps_the_last_good_checkpoint(here, text, bptt):
    result = bptt(
        "train", "text", "--data", text, "--out", "run", *SMALL, "--optimizer", "sgd", "--lr", "1e38", "--clip", "0",
        "--schedule", "constant", "--cell", "rnn",
    )  # fmt: skip
    assert result.exit_code == 1
    last = result.stderr.strip().splitlines()[-1]
    assert re.search(r"(nan|inf).*gradient norm", last), last
    assert load_weights("run", "last").keys()


def test_debug_shows_where(here, bptt):
    with pytest.raises(FileNotFoundError):
        bptt("--debug", "train", "text", "--data", "none.txt")
    with pytest.raises(FileNotFoundError):
        bptt("train", "text", "--data", "none.txt", "--debug")
