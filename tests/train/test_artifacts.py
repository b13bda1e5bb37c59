"""What a model is of no use without is in the folder whenever a checkpoint is."""

import json
from pathlib import Path

import pytest
import torch

from bptt import Truncated
from bptt.train import Diverged, FolderError, Logs, Run, Saving, load_weights, read_config
from bptt.train.checkpoint import checkpoints
from tests.train.runs import Killed, Regressor, batches, die_after, fresh

VOCABULARY = {"symbols": ["a", "ß"]}


def test_artifacts_are_there_from_the_first_checkpoint_on_and_stay(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Killed):
        fresh(
            batches, folder, artifacts={"vocabulary.json": VOCABULARY}, callbacks=[die_after(1)], logs=Logs(1, False, False)
        ).fit(epochs=1)
    assert list(tmp_path.iterdir()) == []  # killed before the first checkpoint: nothing is left, the artifact neither
    with pytest.raises(Killed):
        fresh(
            batches, folder, artifacts={"vocabulary.json": VOCABULARY}, callbacks=[die_after(3)], logs=Logs(1, False, False)
        ).fit(epochs=1)
    assert checkpoints(folder / "checkpoints") == [1]
    assert json.loads((folder / "vocabulary.json").read_text("utf-8")) == VOCABULARY
    fresh(batches, folder, artifacts={"vocabulary.json": {"symbols": []}}).fit(epochs=1)
    assert json.loads((folder / "vocabulary.json").read_text("utf-8")) == VOCABULARY


def test_a_run_that_diverges_leaves_them(tmp_path: Path) -> None:
    x = torch.ones(12, 2, 2)
    x[8:] = torch.nan
    run = Run(
        Regressor(), lambda y, t: (y - t).square().sum(), (x, x[..., :1]), through=Truncated(4), folder=tmp_path / "run",
        artifacts={"scale.json": [1.5]}, logs=Logs(progress=False, tensorboard=False),
    )  # fmt: skip
    with pytest.raises(Diverged, match="Begin another run, in another folder, with a lower learning rate"):
        run.fit(epochs=1)
    assert (tmp_path / "run" / "scale.json").read_text() == "[1.5]\n"


@pytest.mark.parametrize("name", ["config.json", "a/b.json", "..", "", "checkpoints"])
def test_an_artifact_has_a_name_of_its_own(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="an artifact is a file of the run's folder with a name of its own"):
        fresh(batches, tmp_path / "run", artifacts={name: 1})


def test_an_artifact_is_json(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"artifact 'a\.json' must hold what JSON can"):
        fresh(batches, tmp_path / "run", artifacts={"a.json": float("nan")})


@pytest.mark.parametrize("damage", ["[]", "{}", "{", '{"update": null}', '{"update": "x"}'])
def test_a_damaged_best_is_named_and_the_last_can_still_be_read(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "run"
    fresh(batches, folder, saving=Saving(seconds=None)).fit(epochs=1)
    (folder / "best.json").write_text(damage)
    with pytest.raises(FolderError, match=r"best.json is damaged: it does not name a checkpoint. Use \"last\""):
        load_weights(folder)
    assert load_weights(folder, "last").keys() == Regressor().state_dict().keys()
    fresh(batches, folder).fit(epochs=2)
    assert load_weights(folder).keys() == Regressor().state_dict().keys()


@pytest.mark.parametrize("key", ["config", "run", "model"])
def test_a_record_that_lacks_something_is_named(tmp_path: Path, key: str) -> None:
    folder = tmp_path / "run"
    run = fresh(batches, folder)
    run.fit(epochs=1)
    record = read_config(folder)
    del record[key]
    (folder / "config.json").write_text(json.dumps(record))
    with pytest.raises(FolderError, match=rf"config.json is damaged: it has no '{key}'"):
        fresh(batches, folder).fit(epochs=2)
