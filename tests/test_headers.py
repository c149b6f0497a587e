import os

import numpy as np
import pytest
from PIL import Image

from dupnet.images import headers
from dupnet.images.headers import size_in_header, sizes_at_the_ends


def test_size_of_known_kinds(tmp_path):
    for name in ("a.jpg", "a.png", "a.tif", "a.webp"):
        Image.fromarray(np.zeros((30, 50, 3), np.uint8)).save(tmp_path / name)
        assert size_in_header(tmp_path / name) == (30, 50)


def test_what_tells_no_size(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off")
    assert size_in_header(tmp_path / "a.jpg") is None
    assert size_in_header(tmp_path / "missing.jpg") is None
    assert sizes_at_the_ends([tmp_path / "a.jpg", tmp_path / "missing.jpg"]) == []


def test_only_the_smallest_and_the_largest_files_are_looked_at(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for side in (64, 200, 300, 400):
        Image.fromarray(rng.integers(0, 256, (side, side), np.uint8)).save(tmp_path / f"{side}.png")
    monkeypatch.setattr(headers, "LOOKED_AT", 1)
    assert set(sizes_at_the_ends(tmp_path.iterdir())) == {(64, 64), (400, 400)}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert sizes_at_the_ends([tmp_path / "pipe.jpg"]) == []
