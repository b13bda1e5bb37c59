"""``bptt train transcribe`` from the command line: a folder whose names tell, a picture, refusals in one line."""

import json

import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile", reason="the extra transcribe is not installed")
pytest.importorskip("jiwer", reason="the extra transcribe is not installed")
pytest.importorskip("scipy", reason="the extra transcribe is not installed")

NAMES = ["--names", "{transcript}_{speaker}_{index}"]
SMALL = ["--hidden", "8", "--layers", "1", "--bands", "12", "--epochs", "2", "--rows", "8"]


@pytest.fixture
def tones(here):
    rng = np.random.default_rng(0)
    (here / "tones").mkdir()
    for i in range(24):
        sound = 0.3 * np.sin(2 * np.pi * (500 + 700 * (i % 2)) * np.arange(3000) / 8000) + rng.normal(0, 0.01, 3000)
        soundfile.write(here / "tones" / f"{i % 2}_ann_{i // 2}.wav", sound, 8000)
    return here


def test_train_evaluate_and_predict(tones, bptt):
    done = bptt("train", "transcribe", "--data", "tones", *NAMES, *SMALL, "--test-where", "index=0,1")
    assert done.exit_code == 0, done.stderr
    assert "alphabet  2 characters: 01" in done.stdout
    run = "runs/transcribe-tones"
    figures = json.loads(bptt("evaluate", run, "--json").stdout)
    assert (figures["count"], set(figures["scores"]["this model"])) == (
        4, {"cer", "cer_interval", "wer", "wer_interval", "exact"}
    )  # fmt: skip
    answers = bptt("predict", run, "--data", "tones", "--out", "a.jsonl", "--beam", "1")
    assert answers.exit_code == 0, answers.stderr
    assert [json.loads(line)["file"] for line in (tones / "a.jsonl").read_text().splitlines()] == sorted(
        path.name for path in (tones / "tones").iterdir()
    )
    by_language = [bptt("evaluate", run, "--json", "--beam", "8", "--language", weight).stdout for weight in ("0", "0.6", "50")]
    assert by_language[1] == bptt("evaluate", run, "--json", "--beam", "8").stdout
    assert by_language[0] != by_language[2]
    drawn = bptt("predict", run, "--data", "tones/0_ann_0.wav", "--plot", "a.svg")
    assert drawn.exit_code == 0, drawn.stderr
    assert "probability" in (tones / "a.svg").read_text()
    again = bptt("train", "transcribe", "--out", run, "--epochs", "3")
    assert again.exit_code == 0, again.stderr


def test_bad_input_is_one_line(tones, bptt):
    (tones / "cut.csv").write_text("file,text\ntones/0_ann_0.wav,a\ncut.wav,b\n")
    (tones / "cut.wav").write_bytes((tones / "tones" / "0_ann_0.wav").read_bytes()[:1000])
    (tones / "gone.csv").write_text("file,text\ngone.wav,b\n")
    for data, more, said in (
        ("cut.csv", [], "row 2 (cut.wav): "),
        ("cut.csv", [], "cut.wav is truncated: 956 of 6,000 bytes of sound are there; copy it again"),
        ("gone.csv", [], "gone.wav is not there; paths are relative to"),
        ("tones", [], "has no transcript beside it, 0_ann_0.txt (24 such recordings)"),
        ("tones", ["--names", "{speaker}"], "and {transcript} among them"),
        ("tones", [*NAMES, "--bands", "300"], "300 bands are too many for 8000 hertz"),
        ("tones/0_ann_0.wav", [], "is one recording; expected a manifest"),
    ):
        done = bptt("train", "transcribe", "--data", data, *SMALL[:4], *more)
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.stderr
        assert said in done.stderr
        assert not (tones / "runs").exists()
