"""The loss of what is written: how surprising each token is, generated or copied."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, logsigmoid

from bptt.nn import readout_cross_entropy
from bptt.tasks.seq2seq.model import Seq2SeqModel, Written

_LEAST = 1e-9  # of a probability of copying: a word that stands nowhere in the text read


class Seq2SeqLoss(nn.Module):
    """E = -Σ log P(target), in nats; in training (1-ε) of it, and ε of the mean surprise of all tokens ("label smoothing").

    P is softmax(W f + b), or where the model copies g·softmax(W f + b) + (1-g)·Σ_s a_s [source_s = target] (See et al. 2017).
    ``smoothing`` ε as in Szegedy et al. 2016, arXiv 1512.00567; not with copying, for whose mixture it is not defined.
    """

    unit = "nats"

    def __init__(self, model: Seq2SeqModel, smoothing: float = 0.0) -> None:
        super().__init__()
        if smoothing and model.copy:
            raise ValueError(f"smoothing={smoothing} is of a readout alone, and this model also copies: expected 0")
        self._model = (model,)  # not a part of the loss, whose parameters would be its own
        self.smoothing = smoothing

    def forward(self, y: Written, target: Tensor) -> Tensor:
        (model,) = self._model
        weight, bias = model.readout.weight, model.readout.bias
        if y.gate is not None:
            return -log_probability(model, y, target).sum()
        plain = readout_cross_entropy(y.features, weight, bias, target)
        if not (self.smoothing and model.training):
            return plain
        # The mean surprise is log Σ exp less the mean score: so all that is added are products with one row each.
        apart = embedding(target, weight) - weight.mean(0)
        return plain + self.smoothing * ((y.features * apart).sum() + (bias[target] - bias.mean()).sum())

    def extra_repr(self) -> str:
        return f"smoothing={self.smoothing:g}"


def log_probability(model: Seq2SeqModel, y: Written, target: Tensor) -> Tensor:
    """log P(target) ``[...]`` by a model that copies."""
    assert y.gate is not None
    assert y.source is not None
    beyond = target >= model.size  # words that only the text read has are not generated
    scores = torch.log_softmax(model.readout(y.features), -1)
    generated = scores.gather(-1, target.masked_fill(beyond, 0)[..., None])[..., 0].masked_fill(beyond, -torch.inf)
    copied = (y.weights * (y.source == target[..., None])).sum(-1)
    gate = y.gate[..., 0]
    return torch.logaddexp(logsigmoid(gate) + generated, logsigmoid(-gate) + torch.log(copied + _LEAST))
