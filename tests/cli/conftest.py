import random
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bptt.cli.main import app

WORDS = ["the", "king", "said", "that", "no", "man", "may", "go", "far", "without", "a", "word", "of", "peace"]
SMALL = ["--hidden", "8", "--rows", "4", "--through", "truncated:k1=16", "--epochs", "2"]


@pytest.fixture
def bptt():
    """``bptt("train text --data x")`` or a list: exit_code, stdout, stderr."""

    def run(*arguments):
        return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)

    return run


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty directory to work in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def write_text(path: Path, words: int = 700) -> Path:
    rng = random.Random(0)
    text = " ".join(rng.choice(WORDS) + ("\n" if i % 9 == 8 else "") for i in range(words))
    path.write_text(text.replace("\n ", "\n"), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def _trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    text = write_text(folder / "text.txt")
    result = CliRunner().invoke(app, ["train", "text", "--data", str(text), "--out", str(folder / "run"), *SMALL])
    assert result.exit_code == 0, result.stderr
    return folder / "run", text, result.stdout


@pytest.fixture
def trained(_trained, here):
    """A small trained run of its own: its folder; its text lies elsewhere and must not be changed."""
    shutil.copytree(_trained[0], here / "run")
    return here / "run"


@pytest.fixture
def text(_trained):
    return _trained[1]


@pytest.fixture
def told(_trained):
    """What the training of ``trained`` printed."""
    return _trained[2]
