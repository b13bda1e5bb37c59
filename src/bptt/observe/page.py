"""Pages that are one file: style, script and data inside, nothing fetched."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any


def build(title: str, body: str, scripts: Sequence[str], styles: Sequence[str], data: Any) -> str:
    """A page from the files of ``observe/pages``; ``data`` is what its scripts find as ``DATA``.

    **Raises** ``ValueError`` for data with numbers that are not finite.
    """
    style = "\n".join(_file(name) for name in ("base.css", *styles))
    script = "\n".join(_file(name) for name in ("base.js", *scripts))
    # In a script only "</" and "<!--" could end the data early.
    held = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        "<!doctype html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        # Nothing may be fetched: the page works without a network and tells nobody that it is read.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'; img-src data:\">\n"
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n{_file(body)}"
        f'<script id="data" type="application/json">{held}</script>\n<script>\n"use strict";\n'
        'const DATA = JSON.parse(document.getElementById("data").textContent);\n'
        f"{script}</script>\n</body>\n</html>\n"
    )


def save(page: str, path: str | Path) -> Path:
    """Writes a page to ``path``, making its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _file(name: str) -> str:
    return resources.files("bptt.observe").joinpath("pages", name).read_text(encoding="utf-8")
