"""Chips of 256 px, one of them changed in the middle, where no tile of 128 px is without the change."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dupnet import find_overlaps
from dupnet.find.agreement import LARGE_WINDOW, agreeing_share, high_passed

SIDE, CHANGE = 256, 40


def _ground(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    waves = sum(cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE)), (0, 0), blur) * blur for blur in (1, 3, 8))
    return np.asarray(np.clip(120 + 60 * waves, 0, 255), np.uint8)


@pytest.mark.parametrize(("side", "verdict"), [(0, "duplicate"), (CHANGE, "altered"), (200, None)])
def test_a_chip_changed_in_the_middle_is_altered_unless_most_is(
    tmp_path: Path, side: int, verdict: str | None
) -> None:
    first, other = _ground(1), _ground(2)
    second = first.copy()
    middle = slice((SIDE - side) // 2, (SIDE + side) // 2)
    second[middle, middle] = other[middle, middle]
    for name, grey, quality in (("a", first, 85), ("b", np.asarray(second * 0.8 + 20, np.uint8), 92)):
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), grey, [cv2.IMWRITE_JPEG_QUALITY, quality])
    result = find_overlaps(tmp_path, out=tmp_path / "out", report=False)
    assert result.overlaps["verdict"].tolist() == ([verdict] if verdict else [])


def test_share_of_windows_that_agree() -> None:
    first, other = (high_passed(_ground(seed)) for seed in (1, 2))
    half = np.hstack([first[:, : SIDE // 2], other[:, SIDE // 2 :]])
    assert agreeing_share(first, first) == 1 and agreeing_share(first, other) < 0.05
    assert agreeing_share(first, half) == pytest.approx(0.5, abs=0.05)
    assert np.isnan(agreeing_share(first * 0, first * 0)), "no texture says nothing"
    assert np.isnan(agreeing_share(first[: LARGE_WINDOW - 1], first[: LARGE_WINDOW - 1]))
