"""Every step of a search that takes long shows its progress where it is asked for, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dupnet.find.engine import find_overlaps
from dupnet.images.jpeg import encode_jpeg


@pytest.mark.parametrize("progress", [True, False])
def test_each_step_shows_its_progress(
    progress: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    ground = np.asarray(cv2.resize(noise, (480, 480), interpolation=cv2.INTER_CUBIC), np.uint8)
    for number, (y, x) in enumerate([(0, 0), (37, 101), (120, 60)]):
        crop = ground[y : y + 300, x : x + 300]
        (tmp_path / f"{number}.jpg").write_bytes(encode_jpeg(crop, 95))
    result = find_overlaps(tmp_path, report=False, progress=progress)
    assert len(result.overlaps) == 3
    told = capsys.readouterr().err
    for step in ("describe", "join", "judge"):
        assert (f"{step}:" in told) == progress
