"""Public data by name: fetched once, checked by checksum, kept in a folder of the user; or taken from a copy at hand."""

from __future__ import annotations

import hashlib
import os
import sys
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

_SECONDS = 60.0  # without an answer, after which an address counts as out of reach


@dataclass(frozen=True)
class File:
    """One file: where it is to be had, its size in bytes and its SHA-256."""

    url: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class Named:
    """Data for one task. ``files``: each under the setting that it becomes; ``licence``: as its source states it.

    ``settings``: how they are to be read, where nothing else is asked for.
    """

    task: str
    what: str
    licence: str
    files: Mapping[str, File]
    settings: Mapping[str, str] = field(default_factory=dict)


_SST2 = "https://raw.githubusercontent.com/clairett/pytorch-sentiment-classification/457ffd83de90a9d6d472d8ffc31bbffe40a8b236/data/SST2/"
_MULTI30K = "https://raw.githubusercontent.com/multi30k/dataset/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw/"
_NEWS = "https://raw.githubusercontent.com/sunnysai12345/News_Summary/a86081060bbb17c5686b478b2f7f18df6e87303d/news_summary.csv"

named: dict[str, Named] = {
    "sst2": Named(
        task="classify",
        what="Stanford Sentiment Treebank, whole sentences, two classes (Socher et al. 2013)",
        licence="none is stated where it is fetched from; its home is nlp.stanford.edu/sentiment",
        files={
            "data": File(_SST2 + "train.tsv", 720259, "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920"),
            "valid": File(_SST2 + "dev.tsv", 92057, "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359"),
            "test": File(_SST2 + "test.tsv", 188749, "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7"),
        },
    ),
    "multi30k": Named(
        task="translate",
        what="Multi30k, captions of pictures in English and German (Elliott et al. 2016)",
        licence="none is stated where it is fetched from, but that it derives from Flickr30K: not for commercial use",
        files={
            "data": File(_MULTI30K + "train.en.gz", 568929, "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f"),
            "target": File(
                _MULTI30K + "train.de.gz", 637044, "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6"
            ),
            "valid": File(_MULTI30K + "val.en.gz", 21650, "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28"),
            "valid_target": File(
                _MULTI30K + "val.de.gz", 24681, "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a"
            ),
            "test": File(
                _MULTI30K + "test_2016_flickr.en.gz", 21077, "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9"
            ),
            "test_target": File(
                _MULTI30K + "test_2016_flickr.de.gz", 22890, "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8"
            ),
        },
    ),
    "news-summary": Named(
        task="summarize",
        what="4,514 news in 58 words, with their headlines, from Inshorts",
        licence="none is stated where it is fetched from",
        files={"data": File(_NEWS, 11887088, "732f5165d80ae29b80c0ad7bc50fd836ab99676c819325ee92bf0bc938acca5f")},
        settings={"encoding": "cp1252", "text_column": "text", "target_column": "headlines"},
    ),
}
"""Every data set by name."""


def find(
    name: str, folder: str | Path | None = None, say: Callable[[str], None] = lambda line: print(line, file=sys.stderr)
) -> dict[str, Path]:
    """The files of the data ``name``, by the settings that they become: of ``folder`` or ``folder/name``, where given.

    Without a folder they are fetched once into ``$BPTT_DATA``, else ``$XDG_CACHE_HOME/bptt``, else ``~/.cache/bptt``, and
    ``say`` is told what, from where, and under which licence. Every file is checked each time.

    **Raises** ``FileNotFoundError`` where a file is not in ``folder``, ``OSError`` where one cannot be fetched, both saying
    what to put where; ``ValueError`` for a file that is not what it should be.
    """
    known = named[name]
    if folder is not None:
        given = Path(folder)
        place = given / name if (given / name).is_dir() else given
        for file in known.files.values():
            if not (place / file.name).is_file():
                raise FileNotFoundError(f"{place} has no {file.name}, which --data {name} needs: put there {file.url}")
    else:
        place = home() / name
        if any(not (place / file.name).is_file() for file in known.files.values()):
            say(f"fetching {name}: {known.what}; licence: {known.licence}; into {place}")
        for file in known.files.values():
            if not (place / file.name).is_file():
                say(f"  {file.url} ({file.size:,} bytes)")
                _fetch(name, file, place)
    for file in known.files.values():
        _check(file, (place / file.name).read_bytes(), str(place / file.name))
    return {setting: place / file.name for setting, file in known.files.items()}


def home() -> Path:
    """The folder that fetched data are kept in."""
    if given := os.environ.get("BPTT_DATA"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bptt"


def _fetch(name: str, file: File, place: Path) -> None:
    try:
        with urllib.request.urlopen(file.url, timeout=_SECONDS) as answer:
            content = answer.read()
    except (OSError, HTTPException) as error:
        wanted = " and ".join(each.url for each in named[name].files.values())
        raise OSError(
            f"{file.url} cannot be fetched ({getattr(error, 'reason', None) or error}): put {wanted} into {place}, or say "
            "where a copy is, --data-dir FOLDER"
        ) from None
    _check(file, content, file.url)
    place.mkdir(parents=True, exist_ok=True)
    made = place / f".fetching-{os.getpid()}-{file.name}"
    try:
        made.write_bytes(content)
        made.replace(place / file.name)
    finally:
        made.unlink(missing_ok=True)


def _check(file: File, content: bytes, where: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise ValueError(
            f"{where} is not the file it should be: {len(content):,} bytes with SHA-256 {found}, expected {file.size:,} bytes "
            f"with {file.sha256}; remove it and fetch it again, from {file.url}"
        )
