"""Overlaps of changed images beside the others: in the tables, and in the groups."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

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
