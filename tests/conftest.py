"""Fresh memory is NaN, random numbers are fixed, and nothing is served by chance of the machine."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import find, settings, strategies as st

settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci")
torch.set_num_threads(1)

DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_finish(session):
    """Hypothesis reads the source of all that is imported at its first draw; no test is to be found slow for that."""
    if any(getattr(getattr(item, "obj", None), "is_hypothesis_test", False) for item in session.items):
        find(st.integers(), lambda _: True)


@pytest.fixture(autouse=True)
def _fresh_memory_is_nan():
    """torch fills what it allocates with NaN while deterministic algorithms are asked for."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.manual_seed(0)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def real_data():
    """A file of the development data, or a skip with the reason."""

    def find(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            pytest.skip(f"development data {name} is not at hand (looked in {os.path.relpath(DATA)})")
        return path

    return find
