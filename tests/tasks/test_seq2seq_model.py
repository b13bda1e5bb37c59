"""The encoder-decoder: nothing leaks from padding, strategies agree, writing is what was trained."""

import itertools

import numpy as np
import pytest
import torch

import bptt
from bptt.data.bytokens import ByTokens
from bptt.nn.attention import Attention
from bptt.tasks.seq2seq.beam import Beam, likely, write
from bptt.tasks.seq2seq.examples import PairExamples
from bptt.tasks.seq2seq.loss import Seq2SeqLoss
from bptt.tasks.seq2seq.model import HeldDropout, Seq2SeqModel
from bptt.tasks.seq2seq.special import END, FIRST, PAD

V = 9


def model_of(copy=False, cell="lstm", **how):
    torch.manual_seed(0)
    made = Seq2SeqModel(V, V, cell=cell, embed=6, hidden=8, copy=copy, **how).double().eval()
    for parameter in made.parameters():
        parameter.data.mul_(2)
    made.embed.weight.data[PAD] = 0
    return made


def pairs(rows=7, copy=False, seed=0):
    rng = np.random.default_rng(seed)
    top = V + 2 if copy else V

    def sequences(longest):
        return [np.append(rng.integers(FIRST, top, rng.integers(1, longest)), END) for _ in range(rows)]

    return PairExamples(sequences(9), sequences(7))


def test_a_memory_is_looked_up_as_written_and_absent_places_do_not_count():
    look = Attention(3, 4).double()
    h, memory = torch.randn(5, 2, 3, dtype=torch.double), torch.randn(6, 2, 4, dtype=torch.double)
    exists = torch.ones(6, 2, dtype=torch.bool)
    exists[4:, 1] = False
    holed = memory.masked_fill(~exists[..., None], torch.nan).requires_grad_()
    context, weights = look(h, holed, exists)
    for t, b in itertools.product(range(5), range(2)):
        there = memory[: 4 if b else 6, b]
        share = torch.softmax(there @ look.look.weight @ h[t, b] / 4**0.5, 0)
        torch.testing.assert_close(weights[t, b, : len(share)], share)
        torch.testing.assert_close(context[t, b], share @ there)
    context.sum().backward()
    assert torch.isfinite(holed.grad).all()
    with pytest.raises(ValueError, match=r"expected \[T, B, H\] and \[S, B, I\]"):
        look(h, memory[:, :1])
    with pytest.raises(ValueError, match="expects 3 and 4"):
        look(h, memory[..., :3])
    with pytest.raises(ValueError, match=r"exists is \[5, 2\], expected \[S, B\]"):
        look(h, memory, exists[:5])


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_pair_is_alike_in_whatever_batch_it_stands(cell, copy):
    model, examples = model_of(copy, cell), pairs(copy=copy)
    loss = Seq2SeqLoss(model)

    def of(numbers):
        model.zero_grad()
        window = next(iter(bptt.backprop(model, loss, examples.piece(numbers))))
        return float(window.loss), [p.grad.clone() for p in model.parameters()], window.count

    alone = [of([i]) for i in range(len(examples))]
    together = of(np.arange(len(examples)))
    assert together[2] == examples.lengths.sum() == sum(each[2] for each in alone)
    assert together[0] == pytest.approx(sum(each[0] for each in alone), rel=1e-10)
    for i, gradient in enumerate(together[1]):
        torch.testing.assert_close(gradient, sum(each[1][i] for each in alone), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("through", ["checkpointed:slots=2,segment=2", "truncated:k1=2"])
def test_strategies_cut_the_text_written_and_have_the_one_read_whole(through):
    model, piece = model_of(), pairs().piece(np.arange(7))
    loss = Seq2SeqLoss(model)

    def of(strategy):
        model.zero_grad()
        total = sum(float(window.loss) for window in bptt.backprop(model, loss, piece, through=strategy))
        return total, {name: p.grad.clone() for name, p in model.named_parameters()}

    (whole, exact), (cut, found) = of(bptt.Full()), of(bptt.through.parse(through))
    assert cut == pytest.approx(whole, rel=1e-10)
    if through.startswith("checkpointed"):
        for name, gradient in exact.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-8, atol=1e-10, msg=name)
    else:  # the error still reaches the encoder from every stretch, and no longer crosses their borders
        ratio = (found["encoder.weight_hh_l0"] - exact["encoder.weight_hh_l0"]).norm() / exact["encoder.weight_hh_l0"].norm()
        assert 1e-6 < float(ratio) < 0.7


def test_steps_one_by_one_are_the_whole_at_once():
    model, piece = model_of(True), pairs(copy=True).piece([0, 1, 2])
    tokens, source = piece.x
    whole, _ = model((tokens, source))
    memory = model.encode(source[0])
    state = model.start(memory)
    for t in range(len(tokens)):
        step, weights, state = model.write(tokens[t : t + 1], memory, state)
        torch.testing.assert_close(step.features[0], whole.features[t])
        torch.testing.assert_close(weights[0], whole.weights[t])


def test_smoothing_spreads_a_share_over_all_tokens_in_training_alone():
    model, piece = model_of(), pairs().piece(np.arange(7))
    loss = Seq2SeqLoss(model, 0.1)
    y, _ = model(piece.x)
    y = type(y)(*(None if part is None else part[piece.mask] for part in y))
    target = piece.target[piece.mask]
    surprise = -torch.log_softmax(model.readout(y.features), -1)
    plain = surprise.gather(1, target[:, None]).sum()
    torch.testing.assert_close(loss(y, target), plain)
    model.train()
    torch.testing.assert_close(loss(y, target), 0.9 * plain + 0.1 * surprise.mean(1).sum())
    with pytest.raises(ValueError, match="expected 0"):
        Seq2SeqLoss(model_of(True), 0.1)


def test_what_is_copied_and_generated_makes_up_all():
    model, piece = model_of(True), pairs(copy=True).piece([0, 3])
    source = piece.x[1]
    y, _ = model(piece.x)
    scores = likely(model, y, source[0])
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones_like(scores[..., 0]))
    assert scores.shape[-1] == int(source.max()) + 1 > V
    mine = scores.gather(-1, piece.target.clamp(max=scores.shape[-1] - 1)[..., None])[..., 0]
    count = piece.mask & (piece.target < scores.shape[-1]) & (mine > -15)  # what can be written at all
    assert count.sum() > 3
    apart = type(y)(*(part[count] for part in y))
    torch.testing.assert_close(Seq2SeqLoss(model)(apart, piece.target[count]), -mine[count].sum(), rtol=1e-4, atol=1e-4)


def test_a_wide_search_finds_the_best_of_all_texts():
    torch.manual_seed(1)
    model = Seq2SeqModel(6, 6, embed=4, hidden=4).double().eval()
    model.embed.weight.data.mul_(6)
    source = np.array([3, 4, 5, END])
    found = write(model, [source], Beam(width=200, length=0.0, most=(3, 0)))[0]

    def rated(tokens):
        examples = PairExamples([source], [np.array(tokens)])
        return -float(next(iter(bptt.backprop(model, Seq2SeqLoss(model), examples.piece([0])))).loss)

    def allowed(tokens):  # without PAD and UNKNOWN among the choices the others' probabilities stay as they are
        return rated(tokens)

    every = [[*body, END] for n in range(3) for body in itertools.product([3, 4, 5], repeat=n)]
    every += [list(body) for body in itertools.product([3, 4, 5], repeat=3)]  # cut where no more may be written
    best = max(every, key=allowed)
    assert [*found.tokens, END][: len(best)] == best
    assert found.score == pytest.approx(rated(best) / len(best), rel=1e-6)


def test_a_search_of_width_one_takes_the_likeliest_token_each_time():
    model = model_of()
    model.readout.bias.data[END] = 1.0  # an end is often the second likeliest: it is none yet
    for seed in range(6):
        source = np.append(np.random.default_rng(seed).integers(FIRST, V, 4), END)
        memory = model.encode(torch.from_numpy(source)[None])
        state, last, taken = model.start(memory), END, []
        while len(taken) < 18:
            step, _, state = model.write(torch.tensor([[last]]), memory, state)
            scores = likely(model, step, memory.tokens)[0, 0]
            scores[[PAD, 2]] = -torch.inf
            last = int(scores.argmax())
            taken.append(last)
            if last == END:
                break
        (found,) = write(model, [source], Beam(1, most=(8, 2)))
        assert [*found.tokens, END][: len(taken)] == taken


@pytest.mark.parametrize("width", [1, 3])
def test_without_stutter_no_token_follows_itself(width):
    model = model_of()
    model.readout.bias.data[[4, END]] = torch.tensor([6.0, -6.0], dtype=torch.double)
    source = np.array([3, 5, 4, 7, END])
    for stutter in (True, False):
        (found,) = write(model, [source], Beam(width, stutter=stutter))
        repeats = sum(a == b for a, b in itertools.pairwise(found.tokens))
        assert (repeats > 3) == stutter
        assert stutter or not repeats


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("width", [1, 4])
def test_texts_written_side_by_side_are_those_written_alone(width, copy):
    model = model_of(copy)
    sources = [np.append(np.random.default_rng(i).integers(FIRST, V + copy * (i % 3), 1 + 2 * i), END) for i in range(5)]
    how = Beam(width, 1.0, 0.2)
    together = write(model, sources, how)
    for source, found in zip(sources, together, strict=True):
        (alone,) = write(model, [source], how)
        assert alone.tokens == found.tokens
        assert alone.score == pytest.approx(found.score, rel=1e-8)
        torch.testing.assert_close(alone.weights, found.weights)
        assert found.weights.shape == (len(found.tokens) + found.ended, len(source))
        assert len(found.tokens) <= 10 + 2 * len(source)
        assert not {PAD, END, 2} & set(found.tokens)


def test_held_dropout_drops_the_same_features_at_all_steps():
    x = torch.ones(5, 3, 400)
    layer = HeldDropout(0.3)
    y = layer(x)
    assert (y == y[:1]).all()
    assert 0.2 < float((y[0] == 0).double().mean()) < 0.4
    assert float(y.mean()) == pytest.approx(1, abs=0.1)
    assert layer.eval()(x) is x


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="hidden=7 is parted among the two directions"):
        Seq2SeqModel(V, V, hidden=7)
    with pytest.raises(ValueError, match="one vocabulary for both texts has one size, got 5 and 6 tokens"):
        Seq2SeqModel(5, 6, copy=True)


def test_it_trains_as_a_source_of_batches():
    model, source = model_of(), ByTokens(pairs(40), 8, 60)
    run = bptt.Run(model, Seq2SeqLoss(model), source, lr=0.02, logs=bptt.train.Logs(progress=False))
    first = run.evaluate(source).mean
    run.fit(epochs=3)
    assert run.evaluate(source).mean < 0.9 * first
