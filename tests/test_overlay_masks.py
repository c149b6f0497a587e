"""Pixels under what is burned into many images carry no evidence: true overlaps are found beside it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from benchmarks.free_offsets.lookalikes import ground, legend, watermark
from dupnet import find_overlaps
from dupnet.find.overlay_masks import MOST_COVERED, covered_by, hiding, mean_of, means_of, reading_without

SIDE = 320


def grey(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


@pytest.fixture(scope="module")
def plain() -> list[np.ndarray]:
    return [ground(SIDE, seed) for seed in range(16)]


@pytest.mark.parametrize("lay", [legend, watermark])
def test_what_every_image_carries_is_covered_and_nothing_else(lay, plain) -> None:
    marked = [grey(lay(picture)) for picture in plain]
    mean = mean_of((picture, None) for picture in marked)
    for picture, with_mark in zip(plain, marked, strict=True):
        covered = covered_by(mean, (with_mark, None))
        under = cv2.absdiff(grey(picture), with_mark) > 12
        assert covered[under].mean() > 0.95
        away = cv2.dilate(under.astype(np.uint8), np.ones((61, 61), np.uint8)) == 0
        assert covered[away].mean() < 0.01
        assert covered_by(mean, (grey(picture), None)).mean() < 0.02, "an image without the mark"


def test_what_a_frame_encloses_is_not_covered(plain) -> None:
    framed = [picture.copy() for picture in plain]
    for picture in framed:
        picture[:12], picture[-12:], picture[:, :12], picture[:, -12:] = (255,) * 4
        picture[:6], picture[-6:], picture[:, :6], picture[:, -6:] = (0,) * 4
    mean = mean_of((grey(picture), None) for picture in framed)
    covered = covered_by(mean, (grey(framed[0]), None))
    assert covered[:8].all() and not covered[60:-60, 60:-60].any()


def test_versions_of_one_image_are_not_covered(plain) -> None:
    rng = np.random.default_rng(0)
    versions = [
        np.clip(grey(plain[0]) + rng.normal(0, 2, (SIDE, SIDE)), 0, 255).astype(np.uint8) for _ in range(9)
    ]
    mean = mean_of((version, None) for version in versions)
    assert mean.stands_out.mean() > MOST_COVERED and not covered_by(mean, (versions[0], None)).any()


def test_means_are_of_sizes_with_enough_holders_and_readers_hide_them(plain) -> None:
    images = {number: (grey(legend(picture)), None) for number, picture in enumerate(plain)}
    sizes = np.full((16, 2), SIDE)
    assert not means_of(images.__getitem__, np.arange(7), sizes)
    unmarked = {number: (grey(picture), None) for number, picture in enumerate(plain)}
    assert not means_of(unmarked.__getitem__, np.arange(16), sizes)
    means = means_of(images.__getitem__, np.arange(8), sizes)
    assert list(means) == [(SIDE, SIDE)]
    shown = reading_without(images.__getitem__, means)(9)
    assert shown[0] is images[9][0] and not shown[1][-40:-20, 20:100].any() and shown[1][:200].all()
    valid = np.ones((SIDE, SIDE), bool)
    valid[:20] = False
    of_both = reading_without(lambda number: (images[number][0], valid), means)(9)[1]
    assert not of_both[:20].any() and not of_both[-40:-20, 20:100].any()
    other = (np.zeros((64, 64), np.uint8), None)
    assert reading_without(lambda number: other, means)(0) == other


def test_pairs_with_a_marked_image_are_judged_apart_in_their_order() -> None:
    pairs = pd.DataFrame(
        {"image1": [0, 1, 0, 2], "image2": [1, 2, 3, 3], "y_offset": 0, "x_offset": 0, "n": [4, 5, 6, 7]}
    )

    def telling(name: str):
        return lambda table: table.assign(by=name)

    def told(*marked: bool) -> list[str]:
        found = hiding(telling("plain"), telling("hidden"), np.array(marked))(pairs)
        assert found["n"].tolist() == pairs["n"].tolist()
        return found["by"].tolist()

    assert told(False, False, True, False) == ["plain", "hidden", "plain", "hidden"]
    assert told(True, True, True, True) == ["hidden"] * 4
    assert told(False, False, False, False) == ["plain"] * 4


def marked_collection(folder: Path, lay) -> set[tuple[str, str]]:
    """Twelve images of unrelated ground and four of one strip, all marked: the pairs of the strip."""
    strip = ground(900, 77)
    pictures = {f"other{seed:02}": ground(SIDE, 100 + seed) for seed in range(12)}
    pictures |= {f"strip{k}": strip[40 * k : 40 * k + SIDE, 110 * k : 110 * k + SIDE] for k in range(4)}
    for number, (name, picture) in enumerate(pictures.items()):
        stored = np.clip(lay(picture) * (0.9 + 0.02 * (number % 8)), 0, 255).astype(np.uint8)
        quality = [cv2.IMWRITE_JPEG_QUALITY, 84 + number % 9]
        cv2.imwrite(str(folder / f"{name}.jpg"), stored[..., ::-1], quality)
    return {(f"strip{a}.jpg", f"strip{b}.jpg") for a, b in ((0, 1), (1, 2), (2, 3), (0, 2), (1, 3))}


@pytest.mark.parametrize("lay", [legend, watermark])
def test_overlaps_of_marked_images_are_found(lay, tmp_path: Path) -> None:
    pairs = marked_collection(tmp_path, lay)
    result = find_overlaps(tmp_path, out=tmp_path / "out", report=False)
    assert result.counts["points_of_overlays"] > 0
    accepted = result.overlaps[result.overlaps["verdict"].isin(["duplicate", "altered"])]
    assert set(accepted[["image1", "image2"]].itertuples(index=False, name=None)) == pairs
    assert result.revisits.empty
