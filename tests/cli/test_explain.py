import pytest


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
