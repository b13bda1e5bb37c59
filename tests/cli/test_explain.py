from functools import partial

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bptt.observe import explain as explained


def test_it_prints_the_whole_story(bptt, here):
    result = bptt("explain")
    assert result.exit_code == 0
    assert result.stdout.count("──") > 7
    assert "7  What would change" in result.stdout
    assert list(here.iterdir()) == []


def test_a_page_instead_of_the_text_or_beside_it(bptt, here):
    result = bptt("explain", "--cell", "lstm", "--html", "out/page.html")
    assert result.exit_code == 0
    assert result.stdout == ""
    page = (here / "out" / "page.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace('http-equiv="', "")
    assert len(page) < 100_000
    result = bptt("explain", "--html", "page.html", "--text")
    assert "The gradient, and the update" in result.stdout


def test_options_reach_the_explanation(bptt):
    result = bptt(
        "explain", "--hidden", "1", "--steps", "3", "--through", "truncated:k1=1,k2=2", "--clip", "0.5", "--loss", "last"
    )
    assert "Truncated(k1=1, k2=2) leaves out" in " ".join(result.stdout.split())
    assert "clip_norm 0.5" in result.stdout
    assert "t = 3" in result.stdout
    assert "t = 4" not in result.stdout
    assert "E_1" not in result.stdout.split("4  Backward")[0].replace("E = Σ_t E_t", "")


class Mine(nn.Module):
    def __init__(self, layer, readout):
        super().__init__()
        self.rnn, self.out = layer, readout


@pytest.mark.parametrize("cell", ["rnn", "relu", "gru", "lstm", "grucell"])
def test_a_network_and_a_sequence_of_ones_own(bptt, here, cell):
    made = {"rnn": nn.RNN, "relu": partial(nn.RNN, nonlinearity="relu"), "gru": nn.GRU, "lstm": nn.LSTM, "grucell": nn.GRUCell}
    model = Mine(made[cell](2, 3), nn.Linear(3, 1))
    save_file(model.state_dict(), here / "mine.safetensors")
    x, target = torch.randn(4, 2).double(), torch.randn(4, 1).double()
    lines = [",".join(map(repr, row)) for row in torch.cat([x, target], 1).tolist()]
    (here / "mine.csv").write_text("\n".join(["a,b,next", *lines]) + "\n")
    result = bptt(
        "explain", "--weights", "mine.safetensors", "--data", "mine.csv", *(["--cell", cell] if cell == "relu" else [])
    )
    assert result.exit_code == 0
    assert result.stdout == explained(model.rnn, model.out, x=x, target=target).text()


FILES = {
    "two layers": ("wide.safetensors", None, "rnn.weight_hh_l1: one layer that runs forward"),
    "no layer": ("linear.safetensors", None, "must hold one recurrent layer"),
    "no readout": ("layer.safetensors", None, "its readout's"),
    "another cell": ("mine.safetensors --cell gru", None, r"weight_hh is [12, 3], which is a LSTM's and not a gru's"),
    "no safetensors": ("bad.csv", None, "is no safetensors file"),
    "no file": ("none.safetensors", None, "no file none.safetensors"),
    "a word": ("mine.safetensors", "1,1,1\n1,x,1\n", "line 2: 'x' is no number"),
    "a cell too many": ("mine.safetensors", "1,1,1\n1,1,1,1\n", "line 2 has 4 cells, expected 3: 2 of x and 1 of target"),
    "nothing": ("mine.safetensors", "a,b,c\n", "has no line with numbers"),
    "told twice": ("mine.safetensors --hidden 3", None, "--hidden is told by --weights"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_hold_something_else_are_refused_in_one_line(bptt, here, name):
    weights, data, words = FILES[name]
    for file, model in (
        ("mine", Mine(nn.LSTM(2, 3), nn.Linear(3, 1))),
        ("wide", Mine(nn.RNN(2, 3, 2), nn.Linear(3, 1))),
        ("linear", nn.Linear(2, 2)),
        ("layer", nn.GRU(2, 3)),
    ):
        save_file(model.state_dict(), here / f"{file}.safetensors")
    (here / "bad.csv").write_text(data or "1,1,1\n")
    result = bptt("explain", *f"--weights {weights}".split(), "--data", "bad.csv", "--html", "page.html")
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert result.stderr.count("\n") == 1
    assert not (here / "page.html").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--cell esn", "no cell is called 'esn': one of rnn"),
        ("--hidden 9", "hidden=9"),
        ("--through full", "must be a truncation"),
        ("--through truncated:k1=0", "k1"),
        ("--loss first", "every or last"),
        ("--clip 0", "clip"),
        ("--seed x", "--seed"),
    ],
)
def test_what_cannot_be_explained_is_refused_before_a_page_is_written(bptt, here, options, words):
    result = bptt("explain", *options.split(), "--html", "page.html")
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(here.iterdir()) == []
