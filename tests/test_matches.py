"""Matched points: each pair once, sorted, and whole images in a part, in memory and in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dupnet.find.matches import Parts, unpacked


@pytest.mark.parametrize("in_files", [False, True])
@pytest.mark.parametrize("points", [2**20, 7])
def test_each_pair_is_kept_once_and_images_stay_whole(in_files: bool, points: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    images = np.repeat(np.arange(12), 5).astype(np.int32)
    parts = Parts(images, tmp_path if in_files else None, points=points)
    wanted = set()
    for _ in range(3):
        two = np.sort(rng.integers(0, 60, (40, 2)), axis=1)
        two = two[two[:, 0] < two[:, 1]]
        wanted |= set(map(tuple, two.tolist()))
        parts.add(two[:, 0], two[:, 1])
    assert (parts.n_parts == 1) == (points > 60)
    read = [np.asarray(parts.read(part)) for part in range(parts.n_parts)]
    assert all((np.diff(part.astype(np.int64)) > 0).all() for part in read)
    together = np.concatenate(read)
    pairs = np.column_stack(unpacked(together))
    assert set(map(tuple, pairs.tolist())) == wanted and len(pairs) == len(wanted)
    of_part = [set(images[(part >> np.uint64(32)).astype(int)].tolist()) for part in read]
    assert sum(map(len, of_part)) == len(set.union(*of_part))  # no image in two parts
    first = read[0]
    image = images[int(first[0] >> np.uint64(32))]
    end = parts.end_of_image(first, 0)
    of_image = images[(first >> np.uint64(32)).astype(int)] == image
    assert end == of_image.sum() and of_image[:end].all()
    assert bool(list(tmp_path.iterdir())) == in_files
    parts.close()
    assert not list(tmp_path.iterdir())
