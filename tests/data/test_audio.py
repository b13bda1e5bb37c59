"""Recordings of any kind come out as the same sound; what is not whole is refused."""

import struct

import numpy as np
import pytest

from bptt.data.audio import BadAudio, read_audio, resampled

soundfile = pytest.importorskip("soundfile", reason="the extra transcribe is not installed")
pytest.importorskip("scipy", reason="the extra transcribe is not installed")


def tone(rate=8000, seconds=0.5, hertz=440.0):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "rate", "subtype"),
    [
        ("a.wav", 8000, "PCM_16"),
        ("a.wav", 44100, "PCM_24"),
        ("a.wav", 11025, "PCM_U8"),
        ("a.wav", 48000, "FLOAT"),
        ("a.flac", 16000, "PCM_24"),
        ("a.ogg", 16000, "VORBIS"),
    ],
)
def test_every_rate_depth_and_format_is_the_same_tone(tmp_path, name, rate, subtype):
    both = np.stack([tone(rate), tone(rate)], 1)
    soundfile.write(tmp_path / name, both, rate, subtype=subtype)
    found = read_audio(tmp_path / name, 8000)
    assert found.dtype == np.float32
    assert abs(len(found) - 4000) <= 1
    inside = slice(400, 3600)  # a filter needs both sides
    assert np.abs(found[inside] - tone()[inside]).max() < 0.03


def test_channels_are_mixed_to_their_mean(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([tone(), 0 * tone(), 0 * tone(), 0 * tone()], 1), 8000, subtype="FLOAT")
    assert np.allclose(read_audio(tmp_path / "a.wav", 8000), tone() / 4)


def test_resampling_keeps_what_fits_and_takes_away_what_does_not():
    low, high = tone(16000, 1.0, 1000.0), tone(16000, 1.0, 6000.0)
    assert np.abs(resampled(low, 16000, 8000)[800:-800] - tone(8000, 1.0, 1000.0)[800:-800]).max() < 0.01
    assert np.abs(resampled(high, 16000, 8000)[800:-800]).max() < 0.01  # would be an alias at 2000 hertz


def test_a_recording_of_no_seconds_has_no_samples(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 44100)
    assert read_audio(tmp_path / "a.wav", 8000).shape == (0,)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_a_truncated_file_is_refused(tmp_path, name):
    path = tmp_path / name
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 40000)
    soundfile.write(path, noise, 8000)
    whole = path.read_bytes()
    assert abs(len(read_audio(path, 8000)) - 40000) < 3
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(BadAudio, match=r"a\.\w+ (is truncated|cannot be read)"):
        read_audio(path, 8000)


def test_a_wav_written_to_a_pipe_does_not_know_its_size_and_is_read(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), 8000)
    data = bytearray(path.read_bytes())
    at = data.index(b"data")
    data[4:8] = data[at + 4 : at + 8] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(data)
    assert len(read_audio(path, 8000)) == 4000


def test_what_is_no_recording_is_refused(tmp_path):
    empty, text, strange = tmp_path / "empty.wav", tmp_path / "text.wav", tmp_path / "nan.wav"
    empty.touch()
    text.write_text("hello\n" * 50)
    soundfile.write(strange, np.full(100, np.nan), 8000, subtype="FLOAT")
    for path, said in ((empty, "0 bytes"), (text, "cannot be read as audio.*expected WAV"), (strange, "no finite numbers")):
        with pytest.raises(BadAudio, match=said):
            read_audio(path, 8000)
    with pytest.raises(FileNotFoundError):
        read_audio(tmp_path / "none.wav", 8000)
    with pytest.raises(IsADirectoryError):
        read_audio(tmp_path, 8000)
