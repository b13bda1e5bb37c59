import json

import numpy as np
import pytest

from bptt.data.rolls import read_rolls


def written(path, *sequences):
    path.write_text("\n".join(json.dumps(each) for each in sequences) + "\n")
    return path


def test_lines_of_labels_become_rolls(tmp_path):
    found = read_rolls(written(tmp_path / "a.jsonl", [[60, 64], [], [62]], {"steps": [[64]], "part": "test"}, []))
    assert found.labels == (60, 62, 64)
    assert [roll.tolist() for roll in found.rolls] == [[[1, 0, 1], [0, 0, 0], [0, 1, 0]], [[0, 0, 1]], []]
    assert found.parts == (None, "test", None)
    assert found.part("test")[0] is found.rolls[1]


def test_labels_may_be_texts_and_keep_their_order(tmp_path):
    path = written(tmp_path / "a.jsonl", [["b"], ["a", "b"]])
    assert read_rolls(path).labels == ("a", "b")
    assert read_rolls(path, ["b", "a", "c"]).rolls[0].tolist() == [[1, 0, 0], [1, 1, 0]]


def test_a_matlab_file_is_read_with_its_parts(tmp_path):
    io = pytest.importorskip("scipy.io")
    rng = np.random.default_rng(0)
    rolls = {name: [(rng.random((length, 5)) < 0.3).astype(np.uint8) for length in (4, 7)] for name in ("train", "test")}
    cells = {}
    for name, each in rolls.items():
        cells[f"{name}data"] = np.empty((1, 2), dtype=object)
        cells[f"{name}data"][0, :] = each
    io.savemat(tmp_path / "a.mat", cells)
    found = read_rolls(tmp_path / "a.mat")
    assert found.labels == (0, 1, 2, 3, 4)
    assert found.parts == ("train", "train", "test", "test")
    for one, other in zip(found.part("train"), rolls["train"], strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="has 5 labels, but the model learned 4"):
        read_rolls(tmp_path / "a.mat", range(4))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[[1], 2]", r"line 2, step 2: expected a list of labels, as in \[60, 64\], got 2"),
        ("[[1], [2.5]]", "line 2, step 2: expected a list of labels"),
        ("[[true]]", "line 2, step 1: expected a list of labels"),
        ("3", "line 2: expected a list of steps"),
        ("[[1]", "line 2: not JSON"),
        ('{"notes": [[1]]}', "line 2: no 'steps' in it, only 'notes'"),
        ('{"steps": [[1]], "part": "dev"}', "line 2: the part is 'dev', expected one of train, valid, test"),
        ('[["a"]]', "labels that are numbers and labels that are texts"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, said):
    path = tmp_path / "a.jsonl"
    path.write_text("[[1], [2]]\n" + line)
    with pytest.raises(ValueError, match=said):
        read_rolls(path)


def test_an_unknown_label_is_named(tmp_path):
    with pytest.raises(ValueError, match="line 1, step 2: the label 9 is none of the 2"):
        read_rolls(written(tmp_path / "a.jsonl", [[1], [9]]), [1, 2])


@pytest.mark.parametrize(("content", "said"), [(b"no mat", "is no MATLAB file"), (b"PK\x03\x04zip", "a zip archive")])
def test_what_is_no_matlab_file_is_said(tmp_path, content, said):
    pytest.importorskip("scipy.io")
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_rolls(tmp_path / "a.mat")


def test_a_file_without_labels_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no label at any step"):
        read_rolls(written(tmp_path / "a.jsonl", [[], []]))
