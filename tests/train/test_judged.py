"""The best weights by a metric that is to be great, in the place of a loss that is to be small."""

import pytest
import torch
from torch import nn

from bptt.train import Run, Validation
from tests.train.runs import QUIET, Regressor

GIVEN = [0.2, 0.7, 0.7, 0.9, 0.1, 0.3]


def judged(tmp_path, folder, patience=None):
    """A run whose metric at each validation is known, whatever the loss does."""
    torch.manual_seed(0)
    x = torch.randn(7, 3, 2)
    calls = iter(GIVEN)
    validation = Validation((x, x[..., :1]), patience=patience, metrics=lambda model: {"share": next(calls)}, by="share")
    return Run(
        Regressor(), nn.MSELoss(reduction="sum"), (x, x[..., :1]), lr=0.1, validation=validation, logs=QUIET, seed=0,
        folder=tmp_path / folder,
    )  # fmt: skip


def test_the_greatest_metric_makes_the_best_weights_whatever_the_loss(tmp_path):
    run = judged(tmp_path, "run")
    result = run.fit(epochs=5)
    assert (result.best, result.best_update) == (0.9, 4)
    starred = [line["update"] for line in result.history if line.get("best")]
    assert starred == [1, 2, 4]
    other = judged(tmp_path, "shorter")
    other.fit(epochs=4)
    for a, b in zip(run.model.parameters(), other.model.parameters(), strict=True):
        assert a.equal(b)


def test_patience_counts_validations_without_a_greater_one(tmp_path):
    result = judged(tmp_path, "run", patience=2).fit(epochs=6)
    assert (result.reason, result.updates, result.best) == ("patience", 6, 0.9)
    result = judged(tmp_path, "impatient", patience=1).fit(epochs=6)
    assert (result.reason, result.updates, result.best) == ("patience", 3, 0.7)


def test_a_metric_needs_to_be_measured():
    with pytest.raises(ValueError, match=r"Validation\(by='accuracy'\) names a metric, but there are none: metrics="):
        Validation((torch.zeros(2, 1), torch.zeros(2, 1)), by="accuracy")
