"""Where malloc puts large tensors while a budget is in force."""

import gc
import platform

import pytest
import torch

from bptt.memory import large_apart, resident

MIB = 1 << 20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc's bounds are set on glibc alone")
def test_a_large_tensor_goes_back_to_the_system_at_once_wherever_it_lay():
    gc.collect()
    large_apart(True)
    try:
        held = [torch.ones(2 * MIB // 4) for _ in range(40)]
        full = resident()
        del held[::2]
        gone = full - resident()
    finally:
        large_apart(False)
    assert gone > 36 * MIB, f"{gone / MIB:.1f} MiB of 40 went back"
    assert all(bool((each == 1).all()) for each in held)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc's bounds are set on glibc alone")
def test_otherwise_malloc_keeps_what_lies_between_others():
    large_apart(False)
    held = [torch.ones(2 * MIB // 4) for _ in range(40)]
    full = resident()
    del held[::2]
    assert full - resident() < 8 * MIB
