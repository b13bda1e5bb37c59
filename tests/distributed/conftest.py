"""What several processes did, once for all tests of this folder, whichever of pytest's workers they fall to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from tests.distributed.cases import RESUMED, STOPS, make

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def together(tmp_path_factory):
    """The ``folder`` of `scenarios`, and what was ``told`` there."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own) / "together"
    with FileLock(f"{folder}.lock"):
        if not (folder / "told.json").exists():
            folder.mkdir()
            for case in RESUMED:
                make(case, folder / f"resumed {case}").fit(updates=STOPS[0])
            env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
            command = [sys.executable, "-m", "tests.distributed.scenarios", str(folder)]
            made = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=2400, check=False)
            assert made.returncode == 0, made.stderr
    return SimpleNamespace(folder=folder, told=json.loads((folder / "told.json").read_text()))
