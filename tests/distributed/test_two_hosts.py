"""One training over two network namespaces, each with an address of its own, joined by a pair of interfaces."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from bptt.train import load_weights, read_log
from tests.distributed.scenarios import SMALL, TEXT

ROOT = Path(__file__).parents[2]
NAMES = (f"bptt-a-{os.getpid()}", f"bptt-b-{os.getpid()}")
ENDS = (f"ve{os.getpid()}a"[-15:], f"ve{os.getpid()}b"[-15:])
ADDRESSES = ("10.231.77.1", "10.231.77.2")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts():
    """Two namespaces; skipped where they may not be made."""
    if shutil.which("ip") is None:
        pytest.skip("there is no ip to make network namespaces with")
    try:
        for name in NAMES:
            ip("netns", "add", name)
        ip("link", "add", ENDS[0], "netns", NAMES[0], "type", "veth", "peer", "name", ENDS[1], "netns", NAMES[1])
        for name, end, address in zip(NAMES, ENDS, ADDRESSES, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces may not be made here: {error.stderr.strip()}")
    else:
        yield NAMES
    finally:
        for name in NAMES:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def begin(rank: int, folder: Path, *options: str) -> subprocess.Popen[str]:
    """``bptt train`` on one of the hosts, each with a folder of its own."""
    folder.mkdir()
    (folder / "in.txt").write_text(TEXT)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": ENDS[rank]}
    env |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": ADDRESSES[0], "MASTER_PORT": "29400"}
    command = ["ip", "netns", "exec", NAMES[rank], sys.executable, "-m", "bptt", "train", "text"]
    told = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": folder}
    return subprocess.Popen([*command, "--data", "in.txt", "--out", "run", *SMALL, *options], env=env, **told)


@pytest.mark.slow
def test_a_link_that_is_cut_and_restored_does_not_end_the_training(hosts, tmp_path, together):
    started = [begin(rank, tmp_path / hosts[rank], "--timeout", "60") for rank in (0, 1)]
    try:
        end = time.monotonic() + 120
        while not (tmp_path / hosts[0] / "run" / "config.json").exists() and time.monotonic() < end:
            assert [each.poll() for each in started] == [None, None], [each.communicate() for each in started]
            time.sleep(0.005)
        ip("-n", hosts[0], "link", "set", ENDS[0], "down")
        time.sleep(0.3)  # what was on its way has arrived
        cut = (tmp_path / hosts[0] / "run" / "log.jsonl").read_text()
        time.sleep(0.7)
        assert [each.poll() for each in started] == [None, None]
        assert (tmp_path / hosts[0] / "run" / "log.jsonl").read_text() == cut
        ip("-n", hosts[0], "link", "set", ENDS[0], "up")
        told = [each.communicate(timeout=150) for each in started]
    finally:
        for each in started:
            if each.poll() is None:
                each.kill()
                each.communicate()
    assert [each.returncode for each in started] == [0, 0], told
    assert not (tmp_path / hosts[1] / "run").exists()
    expected = load_weights(together.folder / "whole" / "run", "last")
    found = load_weights(tmp_path / hosts[0] / "run", "last")
    assert all(torch.equal(value, expected[name]) for name, value in found.items())
    assert len(read_log(tmp_path / hosts[0] / "run")) > cut.count("\n")
