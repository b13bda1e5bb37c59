"""Log-mel frames against the plain formula."""

import numpy as np
import pytest

from bptt.data.features import log_mel, mel_bands, stacked


@pytest.mark.parametrize("rate", [8000, 16000])
def test_frames_are_as_the_formula_says(rate):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, rate // 5).astype(np.float32)
    size, hop, points, bands = rate // 40, rate // 100, (256 if rate == 8000 else 512), 20
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    filled = np.concatenate([np.zeros(points // 2), samples, np.zeros(points // 2)])
    weights = mel_bands(rate, points, bands)
    wanted = []
    for first in range(0, len(samples) + 1, hop):
        piece = filled[first : first + points].copy()
        under = np.zeros(points)
        under[(points - size) // 2 : (points - size) // 2 + size] = window
        power = np.abs(np.fft.rfft(piece * under)) ** 2 / (window**2).sum()
        wanted.append([np.log(sum(w * p for w, p in zip(row, power, strict=True)) + 1e-6) for row in weights])
    found = log_mel(samples, rate, bands)
    assert found.shape == (21, bands)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


def test_a_tone_is_loudest_in_its_band():
    for hertz in (300, 1000, 3000):
        frames = log_mel(np.sin(2 * np.pi * hertz * np.arange(8000) / 8000), 8000, 30)
        centre = (mel_bands(8000, 256, 30) * np.arange(129) * 8000 / 256).sum(1) / mel_bands(8000, 256, 30).sum(1)
        assert abs(centre[frames[20:-20].mean(0).argmax()] - hertz) < 150


def test_bands_are_triangles_that_meet():
    bands = mel_bands(16000, 512, 40)
    inside = slice(int(bands[0].argmax()) + 1, int(bands[-1].argmax()) + 1)
    np.testing.assert_allclose(bands.sum(0)[inside], 1, atol=1e-5)
    with pytest.raises(ValueError, match=r"200 bands are too many for 8000 hertz.*--bands"):
        mel_bands(8000, 256, 200)


def test_silence_and_nothing_are_numbers():
    assert np.allclose(log_mel(np.zeros(800), 8000, 40), np.log(1e-6))
    assert log_mel(np.zeros(0), 8000, 40).shape == (0, 40)


def test_stacked_frames_hold_all_of_them_in_order():
    frames = np.arange(14, dtype=np.float32).reshape(7, 2)
    made = stacked(frames, 3)
    assert made.shape == (3, 6)
    np.testing.assert_array_equal(made.reshape(-1, 2)[:7], frames)
    np.testing.assert_array_equal(made.reshape(-1, 2)[7:], [frames[-1]] * 2)
    assert stacked(frames, 1) is frames
    assert stacked(frames[:0], 3).shape == (0, 6)
