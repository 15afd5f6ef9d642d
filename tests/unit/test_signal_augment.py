import numpy as np
import pytest

from edgecodec.signal.augment import add_noise, add_wander, mix_frames, scale_beats, warp_positions
from edgecodec.signal.normalize import normalize


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def frames(rng):
    return normalize(np.sin(2 * np.pi * (np.arange(320) / 50 + rng.random((200, 1)))), 0.0)


def normalised(frames):
    return np.abs(frames.mean(axis=1)).max() < 1e-9 and np.abs(frames.std(axis=1) - 1).max() < 1e-9


def test_noise(frames, rng):
    noise = add_noise(frames, 0.1, 0.3, rng) - frames
    level = noise.std(axis=1)
    assert 0.08 < level.min() < 0.13
    assert 0.27 < level.max() < 0.33


def test_warp(rng):
    positions = warp_positions(500, 100, 0.2, rng)
    assert positions[:, 0].tolist() == [0.0] * 500
    assert 79 < positions[:, -1].min() < 81
    assert 117 < positions[:, -1].max() < 119


def test_mix_by_hand(frames):
    mixed = np.arange(200)[:, None] % 2 == 0
    blend = mix_frames(frames, -frames[::-1], mixed, np.full((200, 1), 0.25))
    assert blend[1] == pytest.approx(frames[1])
    expected = 0.75 * frames[0] - 0.25 * frames[199]
    assert blend[0] == pytest.approx(expected / expected.std(), abs=1e-9)


def test_beats_change_their_size_smoothly(frames, rng):
    scaled = scale_beats(frames, 0.5, 64.0, rng)
    assert normalised(scaled)
    gain = scaled / np.where(np.abs(frames) > 0.5, frames, np.nan)
    spread = np.nanmax(gain, axis=1) / np.nanmin(gain, axis=1)
    assert 1.2 < np.median(spread) < 3
    assert np.nanmax(np.abs(np.diff(gain, axis=1))) < 0.05


def test_wander_is_slow(frames, rng):
    moved = add_wander(frames, 2.0, 64.0, rng)
    assert normalised(moved)
    hz = np.fft.rfftfreq(320, 1 / 64.0)

    def slow_share(x):
        power = np.abs(np.fft.rfft(x, axis=1)) ** 2
        return power[:, hz < 0.5].sum() / power.sum()

    assert slow_share(frames) < 0.02
    assert slow_share(moved) > 0.2


def test_nothing_asked_nothing_changed(frames, rng):
    assert scale_beats(frames, 0.0, 64.0, rng) == pytest.approx(frames)
    assert add_wander(frames, 0.0, 64.0, rng) == pytest.approx(frames)
