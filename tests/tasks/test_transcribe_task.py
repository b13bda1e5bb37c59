"""The transcribe task from recordings to transcripts: what it learns, what it keeps, what it refuses."""

import json

import numpy as np
import pytest
import torch

from bptt.data.audio import resampled
from bptt.tasks.config import settle
from bptt.tasks.task import NothingHeldOut
from bptt.tasks.transcribe.config import TranscribeSettings
from bptt.tasks.transcribe.fitted import Fitted
from bptt.tasks.transcribe.score import error_rate
from bptt.tasks.transcribe.task import TranscribeTask
from bptt.tasks.transcribe.trained import TrainedTranscribe
from bptt.train import load_weights

soundfile = pytest.importorskip("soundfile", reason="the extra transcribe is not installed")
pytest.importorskip("jiwer", reason="the extra transcribe is not installed")
pytest.importorskip("scipy", reason="the extra transcribe is not installed")

RATE = 8000
TONES = {"a": 400.0, "b": 900.0, "c": 1700.0, " ": 0.0}
SMALL = {"hidden": 16, "layers": 1, "bands": 12, "epochs": 15, "rows": 8, "lr": 0.02, "dropout": 0.0, "mask_time": 0.0,
         "mask_bands": 0.0}  # fmt: skip


def sung(text, rng):
    """A tone for each letter, between short silences, with a little noise."""
    parts = []
    for letter in text:
        n = int(RATE * rng.uniform(0.10, 0.14))
        parts += [0.3 * np.sin(2 * np.pi * TONES[letter] * np.arange(n) / RATE), np.zeros(int(RATE * 0.05))]
    made = np.concatenate([np.zeros(int(RATE * 0.05)), *parts])
    return (made + rng.normal(0, 0.003, len(made))).astype(np.float32)


def songs(folder, count=60, seed=0, letters="abc", suffix=".wav"):
    rng = np.random.default_rng(seed)
    lines = ["file,transcript,singer"]
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        text = "".join(rng.choice(list(letters), rng.integers(1, 5))).replace(" ", "a a")
        soundfile.write(folder / f"{i:03}{suffix}", sung(text, rng), RATE)
        lines.append(f"{i:03}{suffix},{text.upper()}!,{['ann', 'bob', 'cid'][i % 3]}")
    (folder / "songs.csv").write_text("\n".join(lines) + "\n")
    return folder / "songs.csv"


def task_of(path, folder=None, **how):
    return TranscribeTask(settle(TranscribeSettings, options={"data": str(path), **SMALL, **how}), folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transcribe")
    torch.manual_seed(0)
    task = task_of(songs(folder / "songs", 120), test=0.2)
    task.fit(folder / "run", progress=False)
    return task, folder


def test_it_learns_to_write_down_what_is_sung(trained):
    task, folder = trained
    report = task.open(folder / "run").evaluate()
    scores = report.figures["scores"]
    assert scores["this model"]["cer"] < 0.2 < 0.5 < scores["the commonest transcript"]["cer"]
    assert list(scores) == [
        "this model", "this model, its likeliest symbols alone", "the transcript of the most similar recording",
        "the commonest transcript",
    ]  # fmt: skip
    low, high = scores["this model"]["cer_interval"]
    assert low <= scores["this model"]["cer"] <= high
    assert report.headline["CER"] == scores["this model"]["cer"]
    assert list(task.open(folder / "run").evaluate(beam=1).figures["scores"])[1].startswith("the transcript of the most")


def test_other_rates_depths_channels_and_formats_are_the_same_song(trained, tmp_path):
    task, folder = trained
    model = task.open(folder / "run")
    for i, (rate, subtype, name) in enumerate(
        [(44100, "PCM_24", "a.wav"), (16000, "PCM_16", "a.flac"), (22050, "VORBIS", "a.ogg")]
    ):
        one = resampled(sung("cabc", np.random.default_rng(i)), RATE, rate)
        soundfile.write(tmp_path / name, np.stack([1.2 * one, 0.8 * one], 1), rate, subtype=subtype)
        (row,) = model.predict(str(tmp_path / name))
        assert (row.text, row.note) == ("cabc", "")
        assert row.seconds == pytest.approx(len(one) / rate, abs=0.01)
        assert -1 < row.score < 0


def test_every_recording_has_its_row_in_order_whatever_it_holds(trained, tmp_path):
    task, folder = trained
    model = task.open(folder / "run")
    rng = np.random.default_rng(1)
    soundfile.write(tmp_path / "song.wav", sung("cab", rng), RATE)
    soundfile.write(tmp_path / "silent.wav", np.zeros(4000), RATE)
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "short.wav", sung("a", rng)[:100], RATE)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "cut.wav").write_bytes((tmp_path / "song.wav").read_bytes()[:2000])
    (tmp_path / "text.wav").write_text("not a sound " * 9)
    names = ["silent", "song", "empty", "cut", "nothing", "text", "song", "short"]
    manifest = tmp_path / "all.csv"
    manifest.write_text("file\n" + "".join(f"{name}.wav\n" for name in names))
    found = model.predict(str(manifest))
    assert [row.file for row in found] == [f"{name}.wav" for name in names]
    notes = dict(zip(names, (row.note for row in found), strict=True))
    assert [row.text for row in found][:7] == ["", "cab", "", "", "", "", "cab"]
    assert (notes["silent"], notes["nothing"], notes["song"]) == ("silent", "0 seconds", "")
    for name, said in (("empty", "is empty"), ("cut", "is truncated"), ("text", "cannot be read as audio")):
        assert notes[name].startswith("not transcribed: ")
        assert said in notes[name]
    rows = found.file("csv").decode().splitlines()
    assert rows[0] == "transcript,score,seconds,note,file"
    assert len(rows) == 9
    assert [json.loads(line)["file"] for line in found.file("jsonl").splitlines()] == [row.file for row in found]
    folder_rows = model.predict(str(tmp_path))
    assert [row.file for row in folder_rows] == sorted({f"{name}.wav" for name in names})
    manifest.write_text("file\nsong.wav\ngone.wav\n")
    with pytest.raises(FileNotFoundError, match=r"row 2: .*gone.wav is not there"):
        model.predict(str(manifest))
    with pytest.raises(FileNotFoundError, match="there is no file"):
        model.transcribe([tmp_path / "gone.wav"])
    with pytest.raises(TypeError, match="expected a list of files"):
        model.transcribe(str(tmp_path / "song.wav"))
    with pytest.raises(ValueError, match="say what to transcribe"):
        model.predict()


def test_long_recordings_are_read_in_parts(tmp_path):
    path = songs(tmp_path / "songs", 120)
    task = task_of(path, longest=1.0)
    task.fit(tmp_path / "run", progress=False)
    soundfile.write(tmp_path / "long.wav", sung("abcacbcabc" * 2, np.random.default_rng(5)), RATE)
    (row,) = task.open(tmp_path / "run").predict(str(tmp_path / "long.wav"))
    assert row.note.startswith("read in ")
    assert error_rate(["abcacbcabc" * 2], [row.text.replace(" ", "")]) <= 0.1


def test_a_picture_shows_what_was_heard(trained, tmp_path):
    pytest.importorskip("matplotlib")
    task, folder = trained
    model = task.open(folder / "run")
    model.predict(str(folder / "songs" / "000.wav")).draw(tmp_path / "heard.png")
    assert (tmp_path / "heard.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "empty.wav").touch()
    with pytest.raises(ValueError, match="nothing was heard"):
        model.predict(str(tmp_path / "empty.wav")).draw(tmp_path / "none.png")


def test_what_was_fitted_comes_back_and_holds_nothing_of_the_held_out_parts(trained, tmp_path):
    task, _ = trained
    kept = task.fitted()
    assert Fitted.from_json(json.loads(json.dumps(kept))).to_json() == kept
    assert sorted(kept["texts"]) == sorted(task.corpus.train.spelled)
    frames = np.concatenate(task.corpus.train.frames)
    np.testing.assert_allclose(kept["mean"], frames.mean(0), rtol=1e-4)
    np.testing.assert_allclose(kept["deviation"], frames.std(0), rtol=1e-4)
    path = songs(tmp_path / "a", 20)
    other = songs(tmp_path / "b", 20, seed=3, letters="abc ")
    assert task_of(path, valid=str(other)).fitted() == task_of(path, valid=0.0).fitted()


def test_stopped_and_gone_on_it_ends_the_same(tmp_path):
    path = songs(tmp_path / "songs", 30)
    how = {"schedule": "constant", "dropout": 0.2, "mask_time": 0.2, "mask_bands": 0.3, "layers": 2}
    task_of(path, epochs=2, **how).fit(tmp_path / "whole", progress=False)
    task_of(path, epochs=1, **how).fit(tmp_path / "parts", progress=False)
    task_of(path, tmp_path / "parts", epochs=2, **how).fit(tmp_path / "parts", progress=False)
    first, second = load_weights(tmp_path / "whole", "last"), load_weights(tmp_path / "parts", "last")
    assert all(first[name].equal(second[name]) for name in first)


def test_prompts_speakers_and_named_rows_are_held_out_as_a_whole(tmp_path):
    path = songs(tmp_path / "songs", 60)
    task = task_of(path, apart="prompt", valid=0.2, test=0.2)
    train, valid, test = ({*part.spelled} for part in (task.corpus.train, task.corpus.valid, task.corpus.test))
    assert len(train | valid | test) == len(train) + len(valid) + len(test)
    assert 6 <= len(task.corpus.valid) <= 24
    assert any("drawn by prompt" in note for note in task.corpus.notes)
    loose = task_of(path, apart="recording", valid=0.2).corpus
    assert {*loose.train.spelled} & {*loose.valid.spelled}
    task = task_of(path, speaker_column="singer", valid=0.3)
    assert len(task.corpus.valid) == 20
    assert {int(name[:3]) % 3 for name in task.corpus.valid.names}.isdisjoint(int(n[:3]) % 3 for n in task.corpus.train.names)
    task = task_of(path, valid_where="singer=bob", test_where="singer=cid")
    assert [name[:3] for name in task.corpus.valid.names] == [f"{i:03}" for i in range(1, 60, 3)]
    assert [name[:3] for name in task.corpus.test.names] == [f"{i:03}" for i in range(2, 60, 3)]
    for how, said in (
        ({"test_where": "singer=dan"}, "no row of .*songs.csv has 'dan' there; it has"),
        ({"test_where": "voice=ann"}, "has no column 'voice'; it has singer"),
        ({"speaker_column": "voice"}, "--speaker-column: .*has no column 'voice'"),
        ({"test_where": "singer"}, "expected a column and its values, as in index=0,1"),
        ({"test": 0.2, "test_where": "singer=ann"}, "both say what is held out: give one of them"),
        ({"valid": 0.6, "test": 0.5}, "leave nothing to learn from"),
        ({"valid": 0.2, "test_where": "singer=ann,bob,cid"}, "too few to hold out a part"),
        ({"through": "truncated:k1=8"}, "leave out --through"),
    ):
        with pytest.raises(ValueError, match=said):
            task_of(path, **how)


@pytest.mark.parametrize(
    ("name", "samples", "text", "said"),
    [
        ("nothing", np.zeros(0), "ab", "the recording has 0 seconds"),
        ("silent", np.zeros(8000), "ab", "silent throughout"),
        ("long", np.random.default_rng(0).normal(0, 0.1, 3 * RATE), "ab", r"3.0 seconds, more than --longest 2"),
        ("brief", np.random.default_rng(0).normal(0, 0.1, 800), "abcabca", r"takes 7 steps to spell and 0.10 seconds"),
        ("same", np.random.default_rng(0).normal(0, 0.1, 800), "aaa", "takes 5 steps.* have 4.*--stack 2"),
        ("unsaid", np.random.default_rng(0).normal(0, 0.1, 8000), "?!", "there is no transcript"),
        ("empty", None, "ab", "is empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_is_refused_with_its_row_or_left_out(tmp_path, name, samples, text, said):
    path = songs(tmp_path / "songs", 12)
    if samples is None:
        (path.parent / f"{name}.wav").touch()
    else:
        soundfile.write(path.parent / f"{name}.wav", samples, RATE)
    path.write_text(path.read_text() + f"{name}.wav,{text},ann\n")
    with pytest.raises(ValueError, match=rf"songs.csv, row 13 \({name}.wav\): .*{said}.*--unfit leave"):
        task_of(path, valid=0.0, longest=2.0)
    task = task_of(path, valid=0.0, longest=2.0, unfit="leave")
    assert len(task.corpus.train) == 12
    assert any(note.startswith("1 recordings cannot be learned and are left out") for note in task.corpus.notes)


def test_symbols_that_training_lacks_count_as_errors_and_are_told(trained, tmp_path):
    task, folder = trained
    path = songs(tmp_path / "more", 4)
    path.write_text(path.read_text().replace("\n000.wav,", "\n000.wav,X"))
    report = task.open(folder / "run").evaluate(str(path))
    assert any("1 transcripts hold symbols that training lacks, 'x'" in remark for remark in report.remarks)
    assert report.figures["scores"]["this model"]["cer"] > 0
    (path.parent / "000.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"row 1 \(000.wav\): .*is empty"):
        task.open(folder / "run").evaluate(str(path))


def test_data_that_have_changed_are_not_measured_as_held_out(tmp_path):
    path = songs(tmp_path / "songs", 20)
    task_of(path, valid=0.0, epochs=1).fit(tmp_path / "none", progress=False)
    with pytest.raises(NothingHeldOut, match="give recordings to evaluate on"):
        TrainedTranscribe(tmp_path / "none").evaluate()
    task_of(path, valid=0.2, apart="recording", epochs=1).fit(tmp_path / "run", progress=False)
    model = TrainedTranscribe(tmp_path / "run")
    assert model.evaluate().figures["count"] == 4
    with pytest.raises(ValueError, match="--part valid was held out of other recordings"):
        model.evaluate(str(path), part="valid")
    path.write_text(path.read_text().replace("000.wav,", "000.wav,a"))
    with pytest.raises(ValueError, match="has changed since this run learned from it"):
        model.evaluate()
    assert any("is left out" in remark for remark in model.evaluate(str(path)).remarks)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"\(--data\), of this run, is no longer there"):
        model.evaluate()


def test_a_run_begun_with_the_weights_of_another_takes_over_alphabet_and_scale(trained, tmp_path):
    task, folder = trained
    other = songs(tmp_path / "b", 20, seed=4)
    begun = task_of(other, start=str(folder / "run"))
    first, own = task.fitted(), begun.fitted()
    assert (own["alphabet"], own["mean"]) == (first["alphabet"], first["mean"])
    assert own["texts"] == list(begun.corpus.train.spelled)
    weights = load_weights(folder / "run")
    assert all(weights[name].equal(value) for name, value in begun.model.state_dict().items())
    strange = songs(tmp_path / "c", 20, letters="ab c")
    with pytest.raises(ValueError, match="its transcript holds ' ', which the alphabet"):
        task_of(strange, start=str(folder / "run"))
    with pytest.raises(ValueError, match=r"--rate 16000 \(there: 8000\)"):
        task_of(other, start=str(folder / "run"), rate=16000)


def test_slower_and_faster_copies_are_learned_beside_the_recordings(tmp_path):
    path = songs(tmp_path / "songs", 10)
    plain, more = task_of(path, valid=0.2), task_of(path, valid=0.2, speed=0.2)
    assert len(more.source.examples) == 3 * len(plain.source.examples) == 24
    own, slow, fast = more.source.examples.lengths[:3]
    assert slow / own == pytest.approx(1.25, rel=0.1)
    assert fast / own == pytest.approx(1 / 1.2, rel=0.1)
    assert len(more.validation.examples) == 2
    assert more.fitted() == plain.fitted()
