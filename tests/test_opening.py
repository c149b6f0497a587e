"""A review opens on what ``find`` wrote, or on a table, as the run had it; judgements become labels."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from textures import textured

from dupnet.review.judgements import Judgements
from dupnet.review.opening import export_labels, judgements_path, open_review
from dupnet.review.queue import Review

OVERLAPS = pd.DataFrame(
    {"image1": ["a.png"], "image2": ["b.png"], "y_offset": [64], "x_offset": [0], "score": [0.7]}
).assign(verdict="duplicate", overlap_tag="")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output folder of a search of tiles of 128 px at a stride of 64, and images of 128 x 192 px."""
    (tmp_path / "images").mkdir()
    (tmp_path / "out").mkdir()
    grey = textured(1, 256, contrast=25)[0]
    cv2.imwrite(str(tmp_path / "images" / "a.png"), grey[:128, :192])
    cv2.imwrite(str(tmp_path / "images" / "b.png"), grey[64:192, :192])
    OVERLAPS.to_csv(tmp_path / "out" / "overlaps.csv", index=False)
    return record(tmp_path / "out")


def record(out: Path, **changes: object) -> Path:
    """Write ``run.json``."""
    run: dict[str, object] = {
        "folders": [str(out.parent / "images")],
        "grid": {"rows": 1, "cols": 2, "tile_size": 64},
        "options": {"tile_size": 128},
        "searched": {"offsets": "grid"},
    }
    (out / "run.json").write_text(json.dumps(run | changes))
    return out


def opened(source: Path, **options: object) -> Review:
    review = open_review(source, **options)  # type: ignore[arg-type]
    review.judgements.close()
    return review


def test_tiles_are_those_of_the_run(out: Path) -> None:
    assert opened(out).tiles(0) == []  # the two share 64 x 192 px, less than a tile
    record(out, options={"tile_size": 64})
    assert [(part["top"], part["left"]) for part in opened(out).tiles(0)] == [(0, 0), (0, 64), (0, 128)]
    assert opened(out, tile_size=64).pairs.equals(opened(out).pairs)
    with pytest.raises(ValueError, match=r"tile_size is 32; .* counts in tiles of 64 px: leave it out"):
        open_review(out, tile_size=32)
    record(out, grid=None, options={})
    with pytest.raises(ValueError, match=r"tile_size is 32; .* counts in pixels: leave it out"):
        open_review(out, tile_size=32)


def test_pairs_at_any_offset_are_scored_on_the_lattice_of_their_group(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lattice begins at the first image of the mosaic, wherever the mosaic begins."""
    phases: list[object] = []

    def tiles_of_region(*arguments: object) -> list[object]:
        phases.append(arguments[3])
        return []

    monkeypatch.setattr("dupnet.review.queue.tiles_of_region", tiles_of_region)
    record(out, grid=None, options={}, searched={"offsets": "any"})
    places = {"image": ["a.png", "b.png"], "group": [0, 0], "mosaic": [0, 0], "y": [40, 104], "x": [7, 7]}
    for changed in ({}, {"image": ["b.png", "a.png"], "y": [0, 13], "x": [0, 5]}):
        pd.DataFrame(places | changed).to_csv(out / "groups.csv", index=False)
        assert opened(out).tiles(0) == []
    assert phases == [(0, 0), (-13 % 32, -5 % 32)]


def test_where_the_images_are(out: Path, tmp_path: Path) -> None:
    assert opened(out).picture(0, "region1").shape == (64, 192, 3)
    record(out, folders=[str(tmp_path / "gone")])
    with pytest.raises(ValueError, match=r"No image of these pairs can be shown: .*not in the folder"):
        open_review(out)
    assert opened(out, images=tmp_path / "images").picture(0, "region2").shape == (64, 192, 3)
    table = tmp_path / "pairs.csv"
    OVERLAPS.to_csv(table, index=False)
    assert len(opened(table).pairs) == 1  # images/ lies beside it
    (tmp_path / "images").rename(tmp_path / "moved")
    with pytest.raises(ValueError, match=r"pairs\.csv' are not known; name their folder \(--images\)"):
        open_review(table)


def test_what_was_refused_closely_on_request(out: Path, tmp_path: Path) -> None:
    OVERLAPS.assign(y_offset=1, score=0.4).to_csv(out / "rejected.csv", index=False)
    OVERLAPS.assign(y_offset=2, verdict="refused").to_csv(out / "refused.csv", index=False)
    OVERLAPS.drop(columns=["verdict", "overlap_tag"]).assign(x_offset=1).to_csv(
        out / "revisits.csv", index=False
    )
    assert len(opened(out).pairs) == 1
    record(out, grid=None, options={})
    near = opened(out, near=True)
    assert sorted(near.pairs["verdict"]) == ["duplicate", "refused", "rejected", "revisit"]
    with pytest.raises(ValueError, match="--near goes with the output folder of `dupnet find`"):
        open_review(out / "overlaps.csv", near=True)


def test_the_network_of_the_run(out: Path, tmp_path: Path) -> None:
    record(out, options={"tile_size": 128, "weights": str(tmp_path / "mine.npz")})
    with pytest.raises(
        ValueError, match=r"a network that is not there any more \(.*mine.npz\); name its file"
    ):
        open_review(out)
    (tmp_path / "mine.npz").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"mine\.npz"):
        open_review(out)
    record(out, options={"tile_size": 128, "weights": None})
    with pytest.raises(ValueError, match=r"mine\.npz"):
        open_review(out, weights=tmp_path / "mine.npz")


def test_what_is_missing(out: Path, tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "gone.csv"):
        with pytest.raises(FileNotFoundError, match="give the output folder of `dupnet find` or a table"):
            open_review(source)
    OVERLAPS[:0].to_csv(out / "overlaps.csv", index=False)
    with pytest.raises(ValueError, match="The table of pairs is empty"):
        open_review(out)


def test_answers_become_labels(out: Path, tmp_path: Path) -> None:
    assert judgements_path(out) == out / "judgements.csv"
    assert judgements_path(tmp_path / "pairs.parquet") == tmp_path / "pairs_judgements.csv"
    labels = tmp_path / "labels.csv"
    with pytest.raises(FileNotFoundError, match=r"no judgements to export .*dupnet review"):
        export_labels(out, labels)
    review = open_review(out, reviewer="Ann")
    with review.judgements:
        review.judge(0, "duplicate")
    assert export_labels(out, labels) == 1
    row = pd.read_csv(labels).iloc[0]
    assert (row["image1"], row["y_offset"], row["is_duplicate"]) == ("a.png", 64, 1)
    with Judgements(tmp_path / "empty.csv"):
        pass
    assert export_labels(out, labels, tmp_path / "empty.csv") == 0 and len(pd.read_csv(labels)) == 0
    labels.write_text("mine\n")
    with pytest.raises(ValueError, match=r"labels.csv' exists and is not a table of image1"):
        export_labels(out, labels)
    assert labels.read_text() == "mine\n" and np.isfinite(row["x_offset"])
