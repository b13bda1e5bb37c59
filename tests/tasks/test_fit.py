"""Tasks from Python in a line."""

import pytest

from bptt import tasks
from bptt.train import FolderError
from tests.tasks.test_classify_task import SMALL, reviews


def test_trained_gone_on_with_and_opened(tmp_path):
    data = reviews(tmp_path / "a.tsv", 60)
    how = {**SMALL, "schedule": "constant", "progress": False}
    model = tasks.train("classify", tmp_path / "run", data=data, **(how | {"epochs": 1}))
    again = tasks.load(tmp_path / "run")
    texts = ["a fine film", "dull"]
    assert (model.probabilities(texts) == again.probabilities(texts)).all()
    tasks.train("classify", tmp_path / "run", data=data, **(how | {"epochs": 3}))
    whole = tasks.train("classify", tmp_path / "whole", data=data, **(how | {"epochs": 3}))
    assert (
        tasks.load(tmp_path / "run", "last").probabilities(texts) == tasks.load(tmp_path / "whole", "last").probabilities(texts)
    ).all()
    assert whole.evaluate().figures == tasks.load(tmp_path / "run").evaluate().figures


def test_what_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no task is called 'clasify'.*'classify'"):
        tasks.train("clasify", tmp_path / "run", data="a.tsv")
    with pytest.raises(ValueError, match=r"unknown setting 'hiden'.*'hidden'"):
        tasks.train("classify", tmp_path / "run", data="a.tsv", hiden=3)
    with pytest.raises(FolderError):
        tasks.load(tmp_path)
    assert not (tmp_path / "run").exists()
