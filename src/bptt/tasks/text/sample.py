"""Writing text: one token after the other, drawn from what the model expects next."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bptt.data import Vocabulary


def generate(
    model: nn.Module,
    vocabulary: Vocabulary,
    prompt: str = "",
    length: int = 500,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    seed: int | None = None,
) -> Iterator[str]:
    """Text that goes on after ``prompt``, in pieces as soon as each is certain; ``length`` tokens in all.

    The state is carried from step to step, so that a step costs the same at any length. The prompt is read first and not
    given back; where it is empty the model begins as after a line end. ``temperature``, ``top_k``, ``top_p``: see `draw`.
    The same ``seed`` gives the same text; ``None`` draws another each time.

    **Raises** ``ValueError`` for settings out of range, and for a prompt with a character that the vocabulary lacks.
    """
    check_sampling(temperature, top_k, top_p, seed)
    if isinstance(length, bool) or not isinstance(length, int) or length < 0:
        raise ValueError(f"length must be a whole number of tokens, at least 0, got {length!r}")
    ids = [int(token) for token in vocabulary.encode(prompt)] or [line_end(vocabulary) or 0]
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return _steps(model, vocabulary, ids, length, temperature, top_k, top_p, generator)


def _steps(
    model: nn.Module,
    vocabulary: Vocabulary,
    ids: list[int],
    length: int,
    temperature: float,
    top_k: int | None,
    top_p: float,
    generator: torch.Generator,
) -> Iterator[str]:
    device = next(model.parameters()).device
    decoder = vocabulary.decoder()
    for token in ids:
        decoder.push(token)  # so that a word that follows the prompt gets its space, and a split character its first bytes
    state = None
    x = torch.tensor(ids, device=device)[:, None]
    for _ in range(length):
        training = model.training
        model.eval()
        try:
            with torch.no_grad():
                logits, state = model(x, state)
        finally:
            model.train(training)  # between two pieces the caller may go on training
        token = draw(logits[-1, 0].to("cpu"), temperature, top_k, top_p, generator)
        if piece := decoder.push(token):
            yield piece
        x = torch.tensor([[token]], device=device)
    if rest := decoder.flush():
        yield rest


def draw(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
) -> int:
    """One token from ``logits [V]``: p ∝ exp(logits / temperature), among the ``top_k`` likeliest, among the nucleus ``top_p``.

    ``temperature=0`` takes the likeliest. ``top_k`` beyond V keeps all. The nucleus is the smallest set of likeliest tokens
    whose probabilities sum to at least ``top_p`` (Holtzman et al. 2020, arXiv 1904.09751), after ``top_k`` has chosen; it
    holds at least one token.

    **Raises** ``ValueError`` where the logits are not finite.
    """
    if not bool(torch.isfinite(logits).all()):
        raise ValueError("the model's output holds NaN or infinite values: training has diverged, use an earlier checkpoint")
    if temperature == 0:
        return int(logits.argmax())
    # In float64 and from the largest down: a tiny temperature must not overflow, a long tail must not be rounded away.
    values, order = logits.double().sort(descending=True, stable=True)
    probabilities = torch.softmax((values - values[0]) / temperature, 0)
    if top_k is not None and top_k < len(probabilities):
        probabilities = probabilities[:top_k] / probabilities[:top_k].sum()
    if top_p < 1:
        before = probabilities.cumsum(0) - probabilities
        kept = int((before < top_p).sum())
        probabilities = probabilities[: max(kept, 1)]
    return int(order[torch.multinomial(probabilities, 1, generator=generator)])


def check_sampling(temperature: float, top_k: int | None, top_p: float, seed: int | None = None) -> None:
    """**Raises** ``ValueError`` for what `draw` and a generator of random numbers cannot use."""
    if not (math.isfinite(temperature) and temperature >= 0):
        raise ValueError(f"temperature must be a number of at least 0 (0 takes the likeliest token), got {temperature!r}")
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
        raise ValueError(f"top_k must be a whole number of at least 1, got {top_k!r}")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1 (1 keeps every token), got {top_p!r}")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63):
        raise ValueError(f"seed must be a whole number from 0 to {2**63 - 1} (2**63 - 1), got {seed!r}")


def line_end(vocabulary: Vocabulary) -> int | None:
    """The token that ends a line, where the vocabulary has one."""
    try:
        ids = vocabulary.encode("\n")
    except ValueError:
        return None
    return int(ids[-1]) if len(ids) else None
