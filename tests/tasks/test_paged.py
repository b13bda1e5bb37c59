"""Training on many files that are read page by page is training on the one file; several processes read them together."""

import json
import re
import threading
from itertools import pairwise

import fsspec
import numpy as np
import polars
import pytest

from bptt import tasks
from bptt.data import encode, outline
from bptt.tasks.config import settle
from bptt.tasks.text import borders
from bptt.tasks.text.config import TextSettings
from bptt.tasks.text.corpus import read_corpus
from bptt.tasks.text.task import TextTask
from bptt.tasks.text.together import Crew
from bptt.train import load_weights
from bptt.train.processes import Elsewhere
from tests.tasks.test_borders import TEXT

SMALL = {"hidden": 4, "rows": 3, "through": "truncated:k1=16", "threads": 1, "schedule": "constant"}
UNITS = ("character", "byte", "word", "subword")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(encode, "SPILL", 1000)
    monkeypatch.setattr(outline, "PAGE", 300)


@pytest.fixture
def texts(tmp_path):
    """The text as one file, and as uneven ones."""
    whole, folder = TEXT.encode(), tmp_path / "shards"
    folder.mkdir()
    cuts = [0, 1, 700, 701, 2003, 4000, len(whole)]
    for number, (a, b) in enumerate(pairwise(cuts)):
        (folder / f"part-{number}.txt").write_bytes(whole[a:b])
    (tmp_path / "a.txt").write_bytes(whole)
    return tmp_path / "a.txt", folder


def settings(data, **how):
    return settle(TextSettings, options={"data": str(data), **SMALL, **how})


def with_unit(unit):
    return {"unit": unit, "vocabulary": 290} if unit == "subword" else {"unit": unit}


class Threads:
    """Several processes of a run, as threads of this one."""

    def __init__(self, size):
        self.size, self._barrier, self._said = size, threading.Barrier(size), [None] * size

    def run(self, job):
        made = [None] * self.size

        def call(rank):
            try:
                made[rank] = job(Crew(_Member(self, rank)))
            except Exception as error:
                made[rank] = error

        every = [threading.Thread(target=call, args=(rank,)) for rank in range(self.size)]
        for each in every:
            each.start()
        for each in every:
            each.join()
        return made

    def every(self, rank, value):
        self._said[rank] = value
        self._barrier.wait(20)
        found = list(self._said)
        self._barrier.wait(20)
        return found


class _Member:
    def __init__(self, group, rank):
        self._group, self.rank, self.size, self.leads = group, rank, group.size, rank == 0

    def every(self, value):
        return self._group.every(self.rank, value)

    def first(self, call):
        return self.every(call() if self.leads else None)[0]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("shares", [(0.1, 0.0), (0.05, 0.2)])
def test_the_parts_are_those_of_the_one_file(texts, small, unit, shares):
    one, many = texts
    how = {**with_unit(unit), "valid": shares[0], "test": shares[1]}
    alone = read_corpus(settings(one, **how))
    paged = read_corpus(settings(many, **how))
    three = Threads(3).run(lambda crew: read_corpus(settings(many, **how), crew=crew))
    assert not alone.outlines
    assert paged.outlines["data"]["files"][1][:2] == ["part-1.txt", 699]
    for made in (paged, *three):
        assert made.vocabulary == alone.vocabulary
        for part in ("train", "valid", "test"):
            mine, expected = getattr(made, part), getattr(alone, part)
            assert not isinstance(mine, np.ndarray)
            assert mine.dtype == expected.dtype
            np.testing.assert_array_equal(np.asarray(mine), expected)


def test_one_file_for_several_processes_is_read_page_by_page(texts, small):
    made = Threads(2).run(lambda crew: read_corpus(settings(texts[0]), crew=crew))
    alone = read_corpus(settings(texts[0]))
    for each in made:
        np.testing.assert_array_equal(np.asarray(each.train), alone.train)
        ((name, size, _),) = each.outlines["data"]["files"]
        assert (name, size) == ("a.txt", len(TEXT.encode()))


def test_bytes_as_they_are_need_no_pass(texts, small, monkeypatch):
    one, many = texts
    monkeypatch.setattr("bptt.data.outline.outlined", None)
    how = {"unit": "byte", "encoding": "binary"}
    made = read_corpus(settings(many, **how))
    np.testing.assert_array_equal(np.asarray(made.train), read_corpus(settings(one, **how)).train)


def test_a_vocabulary_is_of_so_many_characters_at_most(texts, small, monkeypatch):
    monkeypatch.setattr(borders, "FIT", 200)
    one, many = (read_corpus(settings(data, unit="word")).vocabulary for data in texts)
    assert one == many
    assert one.size < 12


def test_training_and_measuring_are_those_of_the_one_file(texts, small, tmp_path):
    one, many = texts
    alone = tasks.train("text", tmp_path / "one", data=str(one), **SMALL, epochs=2, progress=False)
    paged = tasks.train("text", tmp_path / "many", data=str(many), **SMALL, epochs=2, progress=False)
    first, second = load_weights(tmp_path / "one", "last"), load_weights(tmp_path / "many", "last")
    assert all(value.equal(second[name]) for name, value in first.items())
    assert alone.evaluate().figures == paged.evaluate().figures
    other = paged.evaluate(data=str(many / "part-4.txt")).figures
    assert other == alone.evaluate(data=str(many / "part-4.txt")).figures
    assert alone.evaluate(data=str(many)).figures == alone.evaluate().figures, "it is the very text that was learned from"


def test_going_on_needs_no_second_pass_unless_files_have_changed(texts, small, tmp_path, monkeypatch, capsys):
    how = {"data": str(texts[1]), "unit": "word", **SMALL}
    tasks.train("text", tmp_path / "run", **how, epochs=1, progress=False)
    kept = json.loads((tmp_path / "run" / "outlines.json").read_text())
    assert kept["data"]["files"][0][:2] == ["part-0.txt", 1]

    def refuse(*_, **__):
        raise AssertionError("it is read through again")

    with monkeypatch.context() as without:
        without.setattr("bptt.tasks.text.paged.outlined", refuse)
        without.setattr("bptt.tasks.text.paged.counted", refuse)
        tasks.train("text", tmp_path / "run", **how, epochs=2, progress=False)
        texts[1].rename(tmp_path / "moved")
        tasks.train("text", tmp_path / "run", **{**how, "data": str(tmp_path / "moved")}, epochs=3, progress=False)
    assert "has changed" not in capsys.readouterr().err
    with (tmp_path / "moved" / "part-5.txt").open("a") as file:
        file.write("more of it\n")
    with pytest.raises(ValueError, match=r"data: .* in the folder, .* now"):
        tasks.train("text", tmp_path / "run", **{**how, "data": str(tmp_path / "moved")}, epochs=4, progress=False)
    assert re.search(r"moved has changed \(part-5.txt: [\d,]+ bytes before, ", capsys.readouterr().err)
    (tmp_path / "moved" / "part-5.txt").write_bytes((tmp_path / "moved" / "part-5.txt").read_bytes()[: -len("more of it\n")])
    other = next(
        path for path in sorted((tmp_path / "moved").iterdir()) if path.read_bytes()[0] in b"abcdefghijklmnopqrstuvwxyz"
    )
    other.write_bytes(b"Z" + other.read_bytes()[1:])
    with pytest.raises(ValueError, match=r"data: .* in the folder, .* now"):
        tasks.train("text", tmp_path / "run", **{**how, "data": str(tmp_path / "moved")}, epochs=4, progress=False)
    assert f"moved has changed ({other.name}: other contents)" in capsys.readouterr().err


def test_parts_may_be_files_of_their_own(texts, small, tmp_path):
    system = fsspec.filesystem("memory")
    for number, start in enumerate(range(0, 2000, 500)):
        system.pipe(f"/valid/{number}.txt", TEXT.encode()[start : start + 500])
    polars.DataFrame({"body": TEXT.split("\n")[:20]}).write_parquet(tmp_path / "test.parquet")
    how = {"unit": "word", "valid": "memory://valid/*.txt", "test": str(tmp_path / "test.parquet")}
    made = read_corpus(settings(texts[1], **how))
    assert set(made.outlines) == {"data", "valid", "test"}
    expected = made.vocabulary.encode(TEXT.encode()[:2000].decode())
    np.testing.assert_array_equal(np.asarray(made.valid), expected)
    np.testing.assert_array_equal(np.asarray(made.test), made.vocabulary.encode("\n".join(TEXT.split("\n")[:20]) + "\n"))
    system.rm("/valid", recursive=True)


@pytest.mark.parametrize("unit", ["character", "word"])
def test_tables_are_learned_from(small, tmp_path, unit):
    lines = TEXT.split("\n")[:200]
    (tmp_path / "one.txt").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "tables").mkdir()
    for number in range(4):
        polars.DataFrame({"body": lines[number * 50 : number * 50 + 50], "name": "x"}).write_parquet(
            tmp_path / "tables" / f"{number}.parquet"
        )
    with pytest.raises(ValueError, match=r"several columns of texts: say which, --column .* body or name"):
        read_corpus(settings(tmp_path / "tables", unit=unit))
    made = read_corpus(settings(tmp_path / "tables", unit=unit, column="body"))
    expected = read_corpus(settings(tmp_path / "one.txt", unit=unit))
    assert made.vocabulary == expected.vocabulary
    for part in ("train", "valid"):
        np.testing.assert_array_equal(np.asarray(getattr(made, part)), getattr(expected, part))


def test_a_run_is_measured_on_a_column_of_tables(tmp_path):
    (tmp_path / "one.txt").write_text(TEXT)
    model = tasks.train("text", tmp_path / "run", data=str(tmp_path / "one.txt"), **SMALL, epochs=1, progress=False)
    lines = TEXT.split("\n")[:9]
    polars.DataFrame({"body": lines, "name": "x"}).write_parquet(tmp_path / "a.parquet")
    measured = model.evaluate(data=str(tmp_path / "a.parquet"), text_column="body")
    assert measured.figures["count"] == sum(map(len, lines)) + len(lines) - 1
    with pytest.raises(ValueError, match="several columns of texts"):
        model.evaluate(data=str(tmp_path / "a.parquet"))


def test_a_file_that_one_host_lacks_is_named(texts, tmp_path):
    def look(crew):
        crew.find(str(tmp_path / f"host{crew._all.rank}"))

    for host, names in (("host0", "abc"), ("host1", "ac")):
        (tmp_path / host).mkdir()
        for name in names:
            (tmp_path / host / f"{name}.txt").write_text("text")
    for made in Threads(2).run(look):
        assert isinstance(made, ValueError)
        assert "process 1 on " in str(made)
        assert "has no file b.txt, which process 0 on" in str(made)
    (tmp_path / "host1" / "b.txt").write_text("texts")
    assert "process 1 on " in str(Threads(2).run(look)[0])
    assert "has 5 bytes of b.txt, process 0 on" in str(Threads(2).run(look)[1])
    (tmp_path / "host1" / "b.txt").write_text("four")
    assert "has other contents in b.txt than process 0 on" in str(Threads(2).run(look)[1])
    (tmp_path / "host1" / "b.txt").write_text("text")
    assert Threads(2).run(look) == [None, None]


def test_what_one_process_cannot_read_is_told_by_it_alone(texts, small):
    (texts[1] / "part-5.txt").write_bytes(b"here it is\n" * 400 + b"\xff")
    first, second = Threads(2).run(lambda crew: read_corpus(settings(texts[1]), crew=crew))
    assert isinstance(first, Elsewhere)
    assert "process 1 could not do its part" in str(first)
    assert "part-5.txt is not utf-8 text: byte 0xff" in str(second)


def test_too_little_text_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(encode, "SPILL", 1)
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("one two ")
    with pytest.raises(ValueError, match="6 tokens are too few: the part 'valid' would hold 1"):
        TextTask(settings(tmp_path, unit="word", valid=0.1))
