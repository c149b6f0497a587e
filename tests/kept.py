"""Pictures that are kept beside the tests, so that what a seed draws stays what it was.

``DUPNET_REWRITE=1 python -m pytest tests/test_sea.py tests/test_hard_tiles.py`` writes them anew, where a
draw is meant to change: results were measured, and the network was trained, on the draws before.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from textures import Bytes


def assert_kept(picture: Bytes, name: str) -> None:
    """Grey or RGB levels are those of ``tests/<name>.png``, but for one: what the arithmetic of another
    processor may make of them."""
    path = Path(__file__).with_name(f"{name}.png")
    if os.environ.get("DUPNET_REWRITE"):
        Image.fromarray(picture).save(path, optimize=True)
        pytest.skip(f"{path.name} was written anew")
    kept = np.asarray(Image.open(path)).astype(int)
    np.testing.assert_allclose(
        picture.astype(int), kept, rtol=0, atol=1, err_msg="if so it is meant: tests/kept.py"
    )
