"""Several processes make the weights that one with all rows makes, in double precision."""

from __future__ import annotations

import pytest
import safetensors.torch

from tests.distributed.cases import CASES, LONG, UPDATES, make, outcome
from tests.distributed.start import ended, start
from tests.tolerances import assert_close


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What two and four processes made of every case."""
    folder = tmp_path_factory.mktemp("together")
    for size in (2, 4):
        for code, _, errors in ended(start(size, "-m", "tests.distributed.worker", "equal", str(folder)), 120):
            assert code == 0, errors
    return folder


@pytest.mark.parametrize("case", CASES)
def test_several_processes_make_the_weights_of_one(together, case):
    alone = outcome(make(case), LONG.get(case, UPDATES))
    number = list(CASES).index(case)
    for size in (2, 4):
        found = safetensors.torch.load_file(together / f"{size}-{number}.safetensors")
        assert found.keys() == alone.keys()
        for name, value in alone.items():
            assert_close(found[name], value, f"{name} of {size} processes")
