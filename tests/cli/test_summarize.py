"""``bptt train summarize`` from the command line: copying and not, public data read as they are written."""

import hashlib
import json

from bptt.data import named
from bptt.data.named import File

SMALL = ["--hidden", "8", "--embed", "8", "--epochs", "2", "--vocabulary", "12", "--beam", "2"]


def rows(count=60):
    return "".join(f'a,"The caf\u00e9 of Town{i} burns again, say {i} people.",Town{i} burns\n' for i in range(count))


def test_public_data_are_read_as_they_are_written(here, bptt, monkeypatch):
    content = ("author,text,headlines\n" + rows()).encode("cp1252")
    (here / "news_summary.csv").write_bytes(content)
    news = named.named["news-summary"]
    file = File(news.files["data"].url, len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(named.named, "news-summary", named.Named(news.task, "", "", {"data": file}, news.settings))
    for more, run in (([], "runs/summarize-news-summary"), (["--no-copy-words"], "runs/plain")):
        out = ["--out", run] if more else []
        done = bptt("train", "summarize", "--data", "news-summary", "--data-dir", ".", *SMALL, *more, *out)
        assert done.exit_code == 0, done.stderr
        assert ("copying" in done.stdout) == (not more)
        assert "the first 2 words" in done.stdout
        assert "café" in bptt("predict", run, "--text", "The café burns").stdout
    scores = json.loads(bptt("evaluate", run, "--json").stdout)["scores"]
    assert set(scores["this model"]) == {"rouge1", "rouge2", "rougeL", "intervals", "words"}
    answers = bptt("predict", run, "--data", "news_summary.csv", "--out", "a.parquet")
    assert answers.exit_code == 0, answers.stderr


def test_bad_input_is_one_line(here, bptt):
    (here / "news.csv").write_text("author,text,headlines\n" + rows(), encoding="cp1252")
    for more, said in (
        ([], "is not utf-8 text"),
        (["--encoding", "cp1252", "--unit", "subword"], "has no words to copy"),
        (["--encoding", "cp1252", "--target-column", "headline"], "did you mean 'headlines'?"),
        (["--encoding", "cp1252", "--smoothing", "0.1"], "expected 0"),
    ):
        done = bptt("train", "summarize", "--data", "news.csv", *more)
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr
        assert not (here / "runs").exists()
