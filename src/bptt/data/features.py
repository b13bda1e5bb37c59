"""What an ear makes of sound: how loud it is in bands of frequency, over time."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float32]
WINDOW, HOP = 0.025, 0.010  # seconds, as is usual for speech
_LEAST = 1e-6  # of a band's power: below 16 bits' own noise, so that silence is a number


def log_mel(samples: NDArray[np.floating], rate: int, bands: int) -> Floats:
    """The logarithm of the power in each of ``bands`` mel bands, ``[T, bands]``, a frame every 10 ms.

        y_tm = log(Σ_f M_mf |X_tf|² + 10⁻⁶),    X = the transform of 25 ms under a Hann window, divided by √Σ w²

    ``samples [N]`` between -1 and 1, ``rate`` in hertz; T = ⌊N / hop⌋ + 1, and 0 where there are no samples. The first and last
    frames are filled up with zeros. Davis & Mermelstein 1980.
    """
    if not len(samples):
        return np.zeros((0, bands), np.float32)
    size, hop = round(WINDOW * rate), round(HOP * rate)
    points = 1 << (size - 1).bit_length()
    window = torch.hann_window(size, periodic=True)
    spectrum = torch.stft(
        torch.from_numpy(np.asarray(samples, dtype=np.float32)), points, hop, size, window, center=True,
        pad_mode="constant", return_complex=True,
    )  # fmt: skip
    power = spectrum.abs().square() / window.square().sum()
    made: Floats = torch.log(torch.from_numpy(mel_bands(rate, points, bands)) @ power + _LEAST).t().numpy()
    return np.ascontiguousarray(made)


@lru_cache(maxsize=8)
def mel_bands(rate: int, points: int, bands: int) -> Floats:
    """The weights ``[bands, points / 2 + 1]`` of triangles, evenly spaced in mel = 2595 log10(1 + f / 700) up to rate / 2.

    **Raises** ``ValueError`` for so many bands that one of them holds no frequency of the transform.
    """
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), bands + 2) / 2595) - 1)
    frequency = np.arange(points // 2 + 1) * rate / points
    rise = (frequency - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - frequency) / np.diff(edges)[1:, None]
    made = np.maximum(0, np.minimum(rise, fall)).astype(np.float32)
    if not made.any(1).all():
        raise ValueError(f"{bands} bands are too many for {rate} hertz: some hold no frequency; expected fewer, --bands")
    return made


def stacked(frames: Floats, count: int) -> Floats:
    """Every ``count`` frames ``[T, M]`` as one ``[⌈T / count⌉, count · M]``; the last is filled up with the last frame."""
    if count == 1 or not len(frames):
        return frames if count == 1 else np.zeros((0, count * frames.shape[1]), np.float32)
    short = -len(frames) % count
    whole = np.concatenate([frames, np.repeat(frames[-1:], short, 0)]) if short else frames
    return np.ascontiguousarray(whole.reshape(-1, count * frames.shape[1]))
