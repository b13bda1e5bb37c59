"""Recordings as samples: any rate, depth and number of channels in, one channel at one rate out, whole or refused."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bptt.data.text import check_file

Samples = NDArray[np.float32]
SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".w64", ".caf")
_STREAMED = (0, 0x7FFFFFFF, 0xFFFFFFFF)  # sizes that a WAV has which was written without knowing its length
_BLOCK = 1 << 20  # frames decoded at a time: only one channel of a long recording stands in memory


class BadAudio(ValueError):
    """A file that should hold a recording and does not, or not all of it."""


def require() -> None:
    """**Raises** ``ImportError`` naming the extra where what reads and resamples audio is missing."""
    try:
        import scipy.signal  # noqa: F401
        import soundfile  # noqa: F401
    except (ImportError, OSError) as error:
        raise ImportError('soundfile and scipy are needed to read audio: pip install "bptt[transcribe]"') from error


def read_audio(path: str | Path, rate: int) -> Samples:
    """The samples ``[N]`` of a recording at ``rate`` in hertz, between -1 and 1: the mean of its channels, resampled.

    WAV, FLAC, OGG and what else libsndfile reads. A recording of 0 seconds has no samples.

    **Raises** ``FileNotFoundError``, ``IsADirectoryError``; `BadAudio` for a file that is empty, no audio, truncated, or holds
    samples that are no numbers; ``ImportError`` without the extra ``transcribe``.
    """
    return decoded(Path(path), content(path), rate)


def content(path: str | Path) -> bytes:
    """The bytes of a file; **raises** what `read_audio` does for one that is not there or empty."""
    check_file_or_empty(Path(path))
    data = Path(path).read_bytes()
    if not data:
        raise BadAudio(f"{path} is empty (0 bytes): record it again, or leave it out")
    return data


def check_file_or_empty(path: Path) -> None:
    """As `bptt.data.text.check_file`, but for a file of 0 bytes."""
    if not (path.is_file() and path.stat().st_size == 0):
        check_file(path)


def decoded(path: Path, data: bytes, rate: int) -> Samples:
    """The samples of a file's bytes; see `read_audio`."""
    require()
    import soundfile

    lacking = _truncated(data)
    if lacking:
        raise BadAudio(f"{path} is truncated: {lacking}; copy it again, or leave it out")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            blocks = [block.mean(1) for block in file.blocks(_BLOCK, dtype="float32", always_2d=True)]
            own, frames = int(file.samplerate), int(file.frames)
    except (soundfile.SoundFileError, RuntimeError) as error:
        said = str(getattr(error, "error_string", None) or error).rstrip(".")
        raise BadAudio(f"{path} cannot be read as audio ({said}): expected WAV, FLAC or OGG") from None
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if len(samples) < frames:
        raise BadAudio(f"{path} is truncated: {len(samples):,} of {frames:,} frames are there; copy it again, or leave it out")
    if not np.isfinite(samples).all():
        raise BadAudio(f"{path} holds samples that are no finite numbers: write it anew, as 16 bit say")
    return resampled(samples, own, rate)


def resampled(samples: Samples, own: int, rate: int) -> Samples:
    """The same sound with ``rate`` samples a second in place of ``own``, by a polyphase filter."""
    if own == rate or not len(samples):
        return samples.astype(np.float32)
    from scipy.signal import resample_poly

    ratio = Fraction(rate, own)
    made: Any = resample_poly(samples, ratio.numerator, ratio.denominator)
    return np.asarray(made, dtype=np.float32)


def _truncated(data: bytes) -> str | None:
    """How much a WAV or OGG lacks of what it says it holds: libsndfile reads what is there, and says nothing."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        at = 12
        while at + 8 <= len(data):
            size = struct.unpack_from("<I", data, at + 4)[0]
            if data[at : at + 4] == b"data":
                there = len(data) - at - 8
                return f"{there:,} of {size:,} bytes of sound are there" if size not in _STREAMED and there < size else None
            at += 8 + size + size % 2
        return "it has no sound"
    if data[:4] == b"OggS":
        last = data.rfind(b"OggS")
        ends = len(data) >= last + 27 and data[last + 5] & 4
        table = data[last + 27 : last + 27 + data[last + 26]] if ends else b""
        return None if ends and len(data) >= last + 27 + len(table) + sum(table) else "its last page is missing"
    return None
