import pytest
import torch

import bptt
from bptt.tasks.layers import recurrent
from bptt.tasks.text.config import TextSettings
from bptt.tasks.text.model import TextModel
from bptt.tasks.text.task import TextTask


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_one_pass_is_any_two_passes(cell):
    model = TextModel(11, cell=cell, hidden=6, embed=4, layers=2).double()
    x = torch.randint(11, (9, 3))
    whole, last = model(x)
    first, state = model(x[:4])
    second, end = model(x[4:], state)
    assert whole.shape == (9, 3, 11)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(end, last, rtol=0, atol=1e-12)


def test_a_reset_forgets_what_came_before():
    model = TextModel(11, hidden=6, embed=4).double()
    x = torch.randint(11, (6, 2))
    reset = torch.zeros(6, 2, dtype=torch.bool)
    reset[3, 1] = True
    y, _ = model(x, None, reset=reset)
    afresh, _ = model(x[3:])
    straight, _ = model(x)
    torch.testing.assert_close(y[3:, 1], afresh[:, 1])
    torch.testing.assert_close(y[:, 0], straight[:, 0])


def test_tied_weights_are_one_and_count_once():
    model = TextModel(11, hidden=6, embed=6, tie=True)
    assert model.readout.weight is model.embedding.weight
    apart = TextModel(11, hidden=6, embed=6)
    count = [sum(p.numel() for p in m.parameters()) for m in (model, apart)]
    assert count[1] - count[0] == 66


def test_tied_sizes_that_differ_are_named():
    with pytest.raises(ValueError, match=r"4.*6"):
        TextModel(11, hidden=6, embed=4, tie=True)


def test_it_learns_a_text_by_heart():
    model = TextModel(5, hidden=16, embed=8)
    tokens = torch.tensor([0, 1, 2, 0, 3, 4] * 30)[:, None]
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    means = []
    for _ in range(10):
        for window in bptt.backprop(
            model, bptt.CrossEntropy(), (tokens[:-1], tokens[1:]), through=bptt.Truncated(20), reduction="mean"
        ):
            optimizer.step()
            optimizer.zero_grad()
            means.append(window.mean)
    assert means[-1] < 0.1 < means[0]


def test_an_lstm_begins_with_open_forget_gates():
    layer = recurrent("lstm", 3, 4, 1)
    assert layer.bias_ih_l0[4:8].eq(1).all()
    assert layer.bias_hh_l0[4:8].eq(0).all()


def test_an_unknown_cell_is_refused():
    with pytest.raises(ValueError, match="'lstm', 'gru', 'rnn'"):
        recurrent("mamba", 3, 4, 1)


@pytest.mark.parametrize(
    ("how", "least", "most"),
    [({}, 1, 6), ({"tie": True}, 0.05, 0.1), ({"spread": 0.02}, 0.01, 0.02), ({"tie": True, "spread": 0.5}, 0.3, 0.5)],
)
def test_embeddings_begin_within_their_spread(how, least, most):
    torch.manual_seed(0)
    model = TextModel(50, hidden=8, embed=8, **how)
    assert least < float(model.embedding.weight.detach().abs().max()) <= most
    if "spread" in how:
        for name, parameter in model.named_parameters():
            greatest = float(parameter.detach().abs().max())
            assert greatest == 0 if parameter.ndim == 1 else 0.5 * how["spread"] < greatest <= how["spread"], name


def test_words_begin_as_in_the_published_models(tmp_path):
    (tmp_path / "in.txt").write_text("one two three four five six\n" * 30)
    for unit, cell, hidden, most in (("word", "lstm", 200, 0.1), ("word", "gru", 50, 0.2), ("character", "lstm", 50, 5)):
        made = TextTask(TextSettings(data=str(tmp_path / "in.txt"), unit=unit, cell=cell, hidden=hidden, rows=2))
        greatest = max(float(parameter.detach().abs().max()) for parameter in made.model.parameters())
        assert 0.9 * most < greatest <= most if unit == "word" else greatest > 1
