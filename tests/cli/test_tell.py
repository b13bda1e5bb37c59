"""Which of several processes tells an error, where the board that they leave word on goes in the midst of it."""

import pytest

from bptt.cli import launch


class Lost(Exception):
    pass


class Board:
    """Holds until so many things were asked of it."""

    def __init__(self, holds, told=0):
        self.holds, self.numbers, self.asked = holds, {"told": told}, []

    def _ask(self, what):
        if len(self.asked) == self.holds:
            raise RuntimeError("Connection reset by peer")
        self.asked.append(what)

    def set(self, key, value):
        self._ask(("set", key))

    def check(self, keys):
        self._ask(("check", *keys))
        return True

    def add(self, key, number):
        self._ask(("add", key))
        self.numbers[key] = self.numbers.get(key, 0) + number
        return self.numbers[key]


def told(monkeypatch, capsys, board, error, rank):
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setattr(launch, "_board", lambda: board)
    launch.tell(error, "bptt: what went wrong")
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("holds", range(4))
def test_one_that_knows_tells_though_the_board_goes(monkeypatch, capsys, holds):
    assert told(monkeypatch, capsys, Board(holds), ValueError(), 3) == ["bptt: what went wrong"]


@pytest.mark.parametrize("holds", range(9))
def test_one_that_only_lost_another_is_silent_though_the_board_goes(monkeypatch, capsys, holds):
    assert told(monkeypatch, capsys, Board(holds, told=1), Lost(), 3) == []


def test_one_that_was_told_of_is_silent(monkeypatch, capsys):
    board = Board(99, told=1)
    assert told(monkeypatch, capsys, board, ValueError(), 3) == []
    assert board.asked[-1] == ("add", "seen"), "after this the first process may take the board with it"
