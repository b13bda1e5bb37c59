"""What a run shows, how it paces itself, and how it reads what it is fed."""

import io
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

import bptt
from bptt.data import Stream
from bptt.train import pace as pace_module, progress as module
from bptt.train.feed import Pieces, Sequences, as_source, length_of, windows_of, with_end
from bptt.train.ledger import Ledger
from bptt.train.log import Log
from bptt.train.pace import Pace
from bptt.train.progress import Bar, Plain, Silent, Status, clock, make_display
from bptt.train.settings import Budget
from tests.train.runs import Endless, Shuffled, pair

STATUS = Status(120, 2, 0.25, 1.5, 0.731, 0.002, 12345.0, 1.6, 61.0, 183.0)


def test_a_plain_line_now_and_then(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    plain = Plain()
    assert not plain.due()
    now[0] = 15.0
    assert plain.due()
    plain.show(STATUS)
    assert not plain.due()
    shown = "epoch 3  update 120 (25%)  loss 1.5000  12.3k targets/s  |g| 0.731  lr 0.002  best 1.6000  1:01 < 3:03\n"
    assert capsys.readouterr().err == shown


def test_a_bar_with_words_above_it() -> None:
    stream = io.StringIO()
    bar = Bar(Console(file=stream, force_terminal=True, width=200))
    assert bar.due()
    bar.show(Status(121, 2, None, 1.5, 0.7, 0.002, 900.0, None, 3700.0, None))
    bar.say("ROMEO: [a sample] :smile:")
    bar.show(STATUS)
    bar.close()
    text = stream.getvalue()
    assert "ROMEO: [a sample] :smile:" in text
    assert "epoch 3" in text
    assert "120 (25%)" in text
    assert "12.3k targets/s" in text


def test_silence_and_choice(capsys: Any) -> None:
    silent = make_display(False)
    assert isinstance(silent, Silent)
    silent.say("no")
    silent.show(STATUS)
    assert not silent.due()
    silent.close()
    assert isinstance(make_display(True), Plain)
    assert capsys.readouterr().err == ""


def test_clock() -> None:
    assert [clock(s) for s in (0.4, 59.6, 3599, 3600, math.nan)] == ["0:00", "1:00", "59:59", "1:00:00", "?"]


def test_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(pace_module.time, "perf_counter", lambda: now[0])
    at = Ledger(update=10, seconds=50.0)
    pace = Pace(Budget(updates=40, seconds=100), 40)
    pace.begin(at)
    assert math.isnan(pace.rate())
    pace.saw(300)
    now[0] += 1
    with pace.pause():
        now[0] += 9
    assert pace.rate() == 300
    at.update, at.seconds = 20, pace.seconds()
    assert at.seconds == 60
    assert pace.done(at) == 0.6
    assert pace.left(at) == 20.0  # one second an update, validations included
    pace.mark()
    assert math.isnan(pace.rate())


def test_an_end_that_is_not_known() -> None:
    pace, at = Pace(Budget(epochs=4), None), Ledger(update=10)
    pace.begin(Ledger())
    assert pace.done(at) is None
    assert pace.left(at) is None
    at.epoch, at.seconds = 1, 30.0
    assert pace.done(at) == 0.25
    assert pace.left(at) == pytest.approx(90.0)


def test_budget() -> None:
    budget = Budget(epochs=3, updates=100)
    assert budget.total_updates(20) == 60
    assert budget.total_updates(50) == 100
    assert budget.total_updates(None) == 100
    assert Budget(epochs=3).total_updates(None) is None
    assert budget.spent(2, 99, 1e9) is None
    assert budget.spent(3, 99, 0) == "epochs"
    assert Budget(seconds=2).spent(0, 0, 2.0) == "seconds"


def test_sources() -> None:
    stream = Stream(torch.arange(41), 2)
    assert as_source(stream) is stream
    assert windows_of(stream, bptt.Truncated(6, 9)) == 4
    assert windows_of(stream, bptt.Full()) == 1
    assert windows_of(Shuffled(), bptt.Truncated(4)) == 10
    uneven = as_source([pair(4, 1), pair(5, 2)])
    assert windows_of(uneven, bptt.Truncated(4)) is None
    assert windows_of(uneven, bptt.Full()) == 2
    assert as_source([pair(4, 1)]).steps == 4
    x, target = torch.zeros(3, 1), torch.zeros(3, 1)
    assert as_source([x, target]).sequences == as_source((x, target)).sequences == 1


def test_fingerprints_tell_data_apart() -> None:
    a, b = pair(4, 1), pair(4, 1)
    assert as_source(a).fingerprint() == as_source(b).fingerprint()
    b.target[2, 1] += 1e-6
    assert as_source(a).fingerprint() != as_source(b).fingerprint()
    assert as_source([a, b]).fingerprint() != as_source([b, a]).fingerprint()
    assert as_source([Stream(torch.arange(9), 2)]).fingerprint() != as_source([Stream(torch.arange(1, 10), 2)]).fingerprint()

    class Sliced:
        def __init__(self, seed: int) -> None:
            self.piece = pair(5, seed)

        def __len__(self) -> int:
            return 5

        def __getitem__(self, where: slice) -> Any:
            return tuple(part[where] for part in self.piece[:2])

    assert as_source(Sliced(1)).fingerprint() != as_source(Sliced(2)).fingerprint()
    assert as_source(Sliced(1)).fingerprint() == as_source(Sliced(1)).fingerprint()
    assert "? steps" in as_source(Endless()).fingerprint()


def test_pieces_know_their_end_with_the_last_one() -> None:
    pieces = with_end(Endless())
    assert isinstance(pieces, Pieces)
    ends = [(piece.x.shape[0], length_of(pieces)) for piece in pieces]
    assert ends == [(3, None), (4, None), (5, None), (6, None), (3, None), (4, 25)]
    assert with_end(pair(3, 1)) is not None
    assert length_of(with_end(pair(3, 1))) == 3
    assert list(with_end(iter([]))) == []
    assert isinstance(as_source([pair(3, 1)]), Sequences)


def test_log_rewinds_to_what_a_checkpoint_knows(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.jsonl")
    for i in range(3):
        log.write({"update": i, "loss": math.nan if i == 1 else 0.5})
    assert log.saved() == 3
    log.write({"update": 3})
    log.rewind(3)
    log.write({"update": 33})
    log.close()
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert lines == [
        '{"update": 0, "loss": 0.5}',
        '{"update": 1, "loss": null}',
        '{"update": 2, "loss": 0.5}',
        '{"update": 33}',
    ]
    again = Log(tmp_path / "log.jsonl")
    assert [line["update"] for line in again.lines] == [0, 1, 2, 33]
    again.rewind(0)
    again.close()
    assert (tmp_path / "log.jsonl").read_bytes() == b""
