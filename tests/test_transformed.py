"""Overlaps of changed images beside the others: in the tables, and in the groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from textures import textured

from dupnet.find.engine import find_overlaps
from dupnet.find.groups import Resolution
from dupnet.find.overlaps import JUDGED
from dupnet.find.transformed import Transformed, with_transformed
from dupnet.images.transforms import TRANSFORM_COLUMNS, transform_columns, turn_matrix


def table(*rows: tuple[object, ...]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=[*JUDGED, "n_votes"])


def changed(*rows: tuple[object, ...]) -> pd.DataFrame:
    matrices = np.stack([turn_matrix(5, 64, 64)] * len(rows))
    return pd.concat([table(*rows), transform_columns(matrices, np.zeros(len(rows)))], axis=1)


def resolution(*overlaps: tuple[object, ...]) -> Resolution:
    places = pd.DataFrame({"group": [0, 0, 1, 2], "mosaic": [0, 0, 1, 2], "y": 0, "x": 0})
    return Resolution(table(*overlaps), places, table(), table(), table())


UPRIGHT = (0, 1, 0, 8, 64, 56, 1, 1, 0, 0.99, "duplicate", 20)
TURNED = (1, 2, 0, 0, 64, 64, 1, 1, 0, 0.98, "duplicate", 30)
REVISIT = (0, 3, 0, 0, 64, 64, 1, 1, 1, 0.01, "revisit", 30)


@pytest.mark.parametrize("upright", [[UPRIGHT], []])
def test_they_are_listed_and_join_groups_and_mosaics_stay(upright: list[tuple[object, ...]]) -> None:
    found = with_transformed(resolution(*upright), Transformed(changed(TURNED, REVISIT), {}, {}))
    assert set(TRANSFORM_COLUMNS) <= set(found.overlaps)
    assert len(found.overlaps) == len(upright) + 1
    turned = found.overlaps[found.overlaps["image2"] == 2].iloc[0]
    assert (turned["flip"], turned["turn"]) == (1, 90)
    if upright:
        plain = found.overlaps[found.overlaps["image2"] == 1].iloc[0]
        assert (plain["flip"], plain["turn"], plain["scale"], plain["x_shift"]) == (0, 0, 1.0, 8.0)
    assert found.places["group"].tolist() == [0, 0, 0, 1]
    assert found.places["mosaic"].tolist() == [0, 0, 1, 2]
    assert found.revisits["image2"].tolist() == [3]


def test_a_changed_copy_is_no_revisit() -> None:
    """Its points agree at several offsets, in as many revisits."""
    apart = [(*TURNED[:2], 5 * k, 0, *TURNED[4:10], "revisit", 9) for k in range(3)]
    known = resolution()._replace(revisits=table(*apart, REVISIT))
    found = with_transformed(known, Transformed(changed(TURNED), {}, {}))
    assert found.revisits[["image1", "image2"]].to_numpy().tolist() == [[0, 3]]


def test_every_image_too_large_to_be_changed_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy, too, for which another stands in the search."""
    monkeypatch.setattr("dupnet.find.near_copies.CROWD", 2)
    monkeypatch.setattr("dupnet.find.near_copies.MAX_STACK", 1)
    for module in ("transformed", "turned_search", "rescaled_search"):
        monkeypatch.setattr(f"dupnet.find.{module}.MAX_PIXELS", 200**2, raising=False)
    grey = textured(1, 300, contrast=25)[0]
    for name, side in (("a", 300), ("a_again", 300), ("small", 150)):
        Image.fromarray(grey[:side, :side]).save(tmp_path / f"{name}.png")
    result = find_overlaps(tmp_path, turned=True, rescaled=True)
    assert result.counts["images_not_changed"] == 2
    assert any("whether 2 images" in line for line in result.coverage())
