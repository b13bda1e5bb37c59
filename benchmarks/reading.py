"""How fast, and in how much memory, a text in many files is read page by page: the table of docs/scale.md.

    python benchmarks/reading.py TEXT [--megabytes 128] [--files 32] [--rows 32] [--units word] [--most 1e8] [--parquet]

Copies of TEXT are written to a temporary folder as files of uneven sizes. For each unit, in a process of its own: the seconds
of a core to look the files through (for pages, then for tokens), tokens a second of a core of reading them in order in so many
rows, 64 steps at a time, and the most memory of the process before it begins and at the end.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from itertools import accumulate, pairwise
from pathlib import Path

STEPS = 64


def write(text: bytes, folder: Path, size: int, files: int, table: bool) -> None:
    """Copies of the text in files that are 1, 2, 3, … parts long."""
    ends = [size * each // sum(range(files + 1)) for each in accumulate(range(files + 1))]
    for number, (a, b) in enumerate(pairwise(ends)):
        own = (text * ((b - a) // len(text) + 2))[a % len(text) :][: b - a]  # never all of it: a child takes over our peak
        if table:
            import polars

            lines = own.decode("utf-8", "ignore").split("\n\n")
            polars.DataFrame({"text": lines}).write_parquet(folder / f"{number}.parquet")
        else:
            (folder / f"{number}.txt").write_bytes(own)


def measure(folder: str, unit: str, rows: int, most: float, fitted_to: str) -> None:
    from bptt.data import Stream, fit_vocabulary
    from bptt.data.encode import encoder
    from bptt.data.outline import counted, outlined
    from bptt.data.pages import Pages
    from bptt.data.text import open_texts
    from bptt.data.vocabulary import ids_type

    vocabulary = fit_vocabulary(unit, fitted_to)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    texts = open_texts(folder)
    encode = encoder(vocabulary, texts.name, "utf-8")
    outline = outlined(texts, unit)
    outlined_in = time.process_time() - began
    if outline.tokens is None:
        outline = counted(texts, outline, encode)
    looked = time.process_time() - began
    stream = Stream(Pages(texts, outline, encode, ids_type(vocabulary.size)), rows)
    began, read = time.process_time(), 0
    for piece in stream.pieces(STEPS):
        read += piece.x.numel()
        if read >= most:
            break
    took = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {
        "unit": unit, "files": "Parquet" if folder.endswith("tables") else "text", "tokens": stream.count + 1,
        "pages": len(outline.places) - 1, "outlined_s": outlined_in, "looked_through_s": looked, "read": read,
        "tokens_per_s": read / took, "before_MiB": before / 1024, "peak_MiB": peak / 1024,
    }  # fmt: skip
    print(json.dumps({key: round(value, 2) if isinstance(value, float) else value for key, value in found.items()}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--megabytes", type=float, default=128)
    parser.add_argument("--files", type=int, default=32)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--units", default="character,byte,word,subword")
    parser.add_argument("--parquet", action="store_true", help="as Parquet")
    parser.add_argument("--most", type=float, default=1e12, help="tokens that are read")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.measure, given.units, given.rows, given.most, str(given.text))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / ("tables" if given.parquet else "texts")
        folder.mkdir()
        write(given.text.read_bytes(), folder, int(given.megabytes * 1e6), given.files, given.parquet)
        for unit in given.units.split(","):
            how = ["--measure", str(folder), "--units", unit, "--rows", str(given.rows), "--most", str(given.most)]
            subprocess.run([sys.executable, __file__, str(given.text), *how], check=True)


if __name__ == "__main__":
    main()
