"""The public names."""

import importlib
import pkgutil

import bptt


def test_no_module_hides_a_public_name() -> None:
    """Importing bptt.x makes it an attribute of bptt, in the place of a function of that name."""
    modules = {found.name for found in pkgutil.iter_modules(bptt.__path__)}
    assert not modules & bptt._HOMES.keys()


def test_every_public_name_is_there() -> None:
    for name in bptt.__all__:
        assert getattr(bptt, name) is not None
    for home in set(bptt._HOMES.values()):
        importlib.import_module(f"bptt.{home}")
