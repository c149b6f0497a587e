from pathlib import Path

import numpy as np
import pandas as pd

from dupnet.training.folder_sources import sources_of_folder

SAMPLE = Path(__file__).parent.parent / "data" / "sample" / "images"


def test_whole_acquisitions_are_held_out():
    held_out = ("kitsap-2", "synthetic-sea-2")
    found = sources_of_folder(SAMPLE, held_out)
    known = pd.read_csv(SAMPLE.parent / "images.csv")["acquisition"]
    assert len(found["validation"]) == known.isin(held_out).sum()
    assert len(found["train"]) == (~known.isin(held_out)).sum()
    assert {source.group for source in found["validation"]} == set(held_out)
    assert found["train"][0].image.shape[2] == 3 and found["train"][0].image.dtype == np.uint8


def test_without_a_table_a_third_of_the_overlap_groups_is(tmp_path):
    (tmp_path / "images").mkdir()
    names = sorted(path.name for path in SAMPLE.iterdir())[:24]
    for name in names:
        (tmp_path / "images" / name).symlink_to(SAMPLE / name)
    truth = pd.read_csv(SAMPLE.parent / "truth.csv", dtype=str)
    truth = truth[truth["image1"].isin(names) & truth["image2"].isin(names)]
    truth.to_csv(tmp_path / "truth.csv", index=False)
    found = sources_of_folder(tmp_path / "images", ("kitsap-2",), seed=1)
    groups = {part: {source.group for source in sources} for part, sources in found.items()}
    assert not groups["train"] & groups["validation"]
    n_groups = len(groups["train"] | groups["validation"])
    assert len(groups["validation"]) == n_groups // 3 >= 1
    assert sum(map(len, found.values())) == 24
