"""The text of files end to end, decoded: wherever the cuts between files fall, and from any place on."""

from __future__ import annotations

import codecs
from bisect import bisect_right
from collections.abc import Iterator
from functools import partial
from itertools import accumulate
from typing import NamedTuple

from bptt.data.files import Shard, Shards
from bptt.data.texts import CHUNK, Chunk, Place

_KNOWN = {
    b"\x1f\x8b": "gzip data",
    b"PK\x03\x04": "a zip archive (or an office document)",
    b"\xfd7zXZ": "xz data",
    b"BZh": "bzip2 data",
    b"\x28\xb5\x2f\xfd": "zstd data",
    b"%PDF": "a PDF document",
    b"PAR1": "a Parquet table",
}
_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)  # UTF-32's little one begins as UTF-16's
_ANYWHERE = ("utf-8", "ascii", "iso8859-1", "cp1252")  # in which a byte alone tells whether a character begins there


class Decoded:
    """`bptt.data.texts.Texts` of files: characters may lie on both sides of the border between two, as after ``split -b``.

    A place is the number of bytes before it, over all files, and the state of the decoder there.

    **Raises** ``ValueError`` for an unknown encoding; on reading for NUL bytes and for a byte that is not text, naming it.
    """

    def __init__(self, name: str, shards: Shards, encoding: str) -> None:
        self.name, self.shards, self.encoding = name, shards, encoding
        try:
            "a".encode(encoding)
        except LookupError:
            raise ValueError(
                f"{encoding!r} is not a text encoding that Python knows; for example utf-8, latin-1, cp1252, utf-16"
            ) from None
        known = codecs.lookup(encoding).name
        # the mark is taken off here: utf-8-sig would do it too, but counts its errors from after the mark
        self._codec = "utf-8" if known == "utf-8-sig" else known  # by its usual name, however it was spelled
        self._wide = known.startswith(("utf-16", "utf-32"))
        self.anywhere = self._codec in _ANYWHERE
        self._starts = [0, *accumulate(shard.size for shard in shards)]
        self.size = self._starts[-1]
        self.first: Place = (0, self._decoder().getstate()[1])

    def check_head(self) -> None:
        """Refuses what begins like no text; what comes later is checked when it is reached."""
        self._check(self.shards[0], 0, self.shards[0].read(0, 4096))

    def chunks(self, first: Place | None = None, stop: Place | None = None, size: int = CHUNK) -> Iterator[Chunk]:
        at, flag = first or self.first
        end = self.size if stop is None else stop[0]
        decoder = self._decoder()
        decoder.setstate((b"", flag))
        held, fresh = b"", False
        while at < end:
            number = bisect_right(self._starts, at) - 1
            shard, start = self.shards[number], at - self._starts[number]
            for data in shard.blocks(start, min(shard.size, start + end - at), max(size, 4)):
                if start == 0:
                    fresh = not held
                    if fresh and self._wide and data.startswith(_MARKS):
                        decoder.reset()
                began = _Began(at - len(held), decoder.getstate()[1], held + data, fresh)
                self._check(shard, start, data)
                text = self._decode(decoder, data, began)
                at, start = at + len(data), start + len(data)
                held, flag = decoder.getstate()
                if text and fresh:
                    text, fresh = text.removeprefix("\ufeff"), False
                if text:
                    yield Chunk(text, at, partial(self._place, began, len(text), (at - len(held), flag)))
            if at < min(end, self._starts[number + 1]):
                raise ValueError(f"{shard.name} became shorter while it was read: it had {shard.size} bytes")
        if held:
            self._decode(decoder, b"", _Began(at - len(held), flag, held, False))

    def text(self, first: Place, stop: Place) -> str:
        return "".join(chunk.text for chunk in self.chunks(first, stop, max(stop[0] - first[0], 1)))

    def begin(self, near: int) -> Place:
        while near < self.size:
            shard, start = self._at(near)
            if self._codec == "utf-8" and shard.read(start, start + 1)[0] & 0xC0 == 0x80:  # within a character
                near += 1
                continue
            break
        return near, self.first[1]

    def _decoder(self) -> codecs.IncrementalDecoder:
        return codecs.getincrementaldecoder(self._codec)("strict")

    def _decode(self, decoder: codecs.IncrementalDecoder, data: bytes, began: _Began) -> str:
        try:
            return decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise ValueError(self._undecodable(began.at + error.start, error)) from None
        except UnicodeError as error:
            shard, _ = self._at(began.at)
            raise ValueError(f"{shard.name} is not {self.encoding} text ({error}): name its order, as in utf-16-le") from None

    def _place(self, began: _Began, length: int, after: Place, k: int) -> Place | None:
        if k == length:
            return after
        if k == 0:
            return began.at, began.flag
        low, high = 0, len(began.data)
        while low < high:  # the least number of bytes that hold k characters
            middle = (low + high) // 2
            if self._count(began, middle)[0] < k:
                low = middle + 1
            else:
                high = middle
        count, flag = self._count(began, low)
        return (began.at + low, flag) if count == k else None

    def _count(self, began: _Began, size: int) -> Place:
        decoder = self._decoder()
        decoder.setstate((b"", began.flag))
        text = decoder.decode(began.data[:size])
        return len(text.removeprefix("\ufeff") if began.fresh else text), decoder.getstate()[1]

    def _at(self, at: int) -> tuple[Shard, int]:
        number = min(bisect_right(self._starts, at) - 1, len(self.shards) - 1)
        return self.shards[number], at - self._starts[number]

    def _check(self, shard: Shard, start: int, data: bytes) -> None:
        if self._wide or (at := data.find(b"\0")) < 0:
            return
        head = data if start == 0 else b""
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise ValueError(f"{shard.name} looks like UTF-16 text (byte order mark at its beginning): add --encoding utf-16")
        kind = known_format(head)
        what = (
            f"is {kind}, not text: unpack or convert it first"
            if kind
            else f"is a binary file: byte {start + at} (from 0) is NUL"
        )
        raise ValueError(f"{shard.name} {what}; to train on raw bytes as they are: --unit byte --encoding binary")

    def _undecodable(self, at: int, error: UnicodeDecodeError) -> str:
        shard, offset = self._at(at)
        if kind := known_format(shard.read(0, 8)):
            return f"{shard.name} is {kind}, not text: unpack or convert it first"
        byte = error.object[error.start]
        other = "--encoding latin-1 (or cp1252)" if codecs.lookup(self.encoding).name != "iso8859-1" else "--encoding utf-8"
        return (
            f"{shard.name} is not {self.encoding} text: byte 0x{byte:02x} at offset {offset} ({error.reason}). "
            f"If it was written in another encoding name it, as in {other}"
        )


class Raw(Decoded):
    """The bytes of files as they are, each a character of the same number."""

    def __init__(self, name: str, shards: Shards) -> None:
        super().__init__(name, shards, "latin-1")

    def _check(self, shard: Shard, start: int, data: bytes) -> None:
        pass


class _Began(NamedTuple):
    """How the decoding of a chunk began: at which byte, in which state, with which bytes, at the beginning of a file."""

    at: int
    flag: int
    data: bytes
    fresh: bool


def known_format(head: bytes) -> str | None:
    """What the first bytes of a file that is no text say that it is, when they say so."""
    return next((name for magic, name in _KNOWN.items() if head.startswith(magic)), None)
