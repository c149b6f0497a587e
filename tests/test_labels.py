"""A network judged by labels: the table, the verdict on an overlap, and the counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from dupnet.commands.cli import main
from dupnet.images.reading import read_image
from dupnet.network.comparison import compare
from dupnet.network.descriptors import load_weights, weights_bytes
from dupnet.pairs.labels import COLUMNS, OUTCOMES, judge_labels, outcome_counts, read_labels, tile_pairs
from dupnet.pairs.reader import PairReader
from dupnet.review import Judged, Judgements, export_labels
from dupnet.review.tables import read_table
from dupnet.tiles import Grid, overlap_of_tag, overlaps, split_tiles

SIZE = 64
"""Side of a tile: the network takes any multiple of 32."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two crops of one scene a tile apart, the second also with one foreign tile; and a white image."""
    rng = np.random.default_rng(0)
    scene, other = rng.integers(40, 215, (2, 3 * SIZE, 4 * SIZE, 3), dtype=np.uint8)
    changed = scene[:, SIZE:].copy()
    changed[:SIZE, :SIZE] = other[:SIZE, :SIZE]
    images = tmp_path_factory.mktemp("labelled") / "images"
    images.mkdir()
    crops = {"left": scene[:, :-SIZE], "right": scene[:, SIZE:], "changed": changed}
    crops["white"] = np.full_like(changed, 255)
    for name, crop in crops.items():
        cv2.imwrite(str(images / f"{name}.png"), crop)
    return images


def labels_of(*rows: tuple[str, str, str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image1", "image2", "overlap_tag", "is_duplicate"])


RIGHT_OF = overlap_of_tag("18").tag
LABELS = labels_of(
    ("left.png", "right.png", RIGHT_OF, 1),
    ("left.png", "changed.png", RIGHT_OF, 1),
    ("left.png", "changed.png", "08", 0),
    ("left.png", "right.png", "08", 1),
    ("left.png", "white.png", RIGHT_OF, 0),
)


def test_each_shared_tile_is_a_pair() -> None:
    labels = labels_of(*(("a.png", "b.png", overlap.tag, 1) for overlap in overlaps()))
    sizes = dict.fromkeys(("a.png", "b.png"), (768, 768))
    pairs = tile_pairs(labels, sizes)
    assert len(pairs) == sum(overlap.n_tiles for overlap in overlaps()) == 81
    for number, overlap in enumerate(overlaps()):
        rows = pairs[pairs["overlap"] == number]
        for end, tiles in (("1", overlap.tiles1), ("2", overlap.tiles2)):
            assert tuple(rows[f"y{end}"] // 256 * 3 + rows[f"x{end}"] // 256) == tiles
            assert not (rows[f"y{end}"] % 256).any() and not (rows[f"x{end}"] % 256).any()
    with pytest.raises(ValueError, match="overlap tag '8' is unknown"):
        tile_pairs(labels_of(("a.png", "b.png", "8", 1)), sizes)


def test_an_overlap_off_the_grid_is_covered_by_tiles_from_end_to_end() -> None:
    labels = pd.DataFrame({"image1": ["a"] * 2, "image2": ["b"] * 2, "is_duplicate": [1, 1]})
    labels = labels.assign(overlap_tag="", y_offset=[-100, 30], x_offset=[40, 470])
    pairs = tile_pairs(labels, {"a": (300, 500), "b": (420, 400)}, 128)
    # The first is 300 x 400 px, the second, 30 px wide, narrower than a tile.
    assert (pairs["overlap"] == 0).all()
    assert pairs[["y1", "x1"]].drop_duplicates().to_numpy().tolist() == [
        [y, x] for y in (0, 86, 172) for x in (40, 131, 221, 312)
    ]
    assert (pairs["y2"] - pairs["y1"] == 100).all() and (pairs["x1"] - pairs["x2"] == 40).all()
    with pytest.raises(ValueError, match=r"a and b share nothing at offset \(300, 0\)"):
        tile_pairs(labels.assign(y_offset=300, x_offset=0), {"a": (300, 500), "b": (420, 400)}, 128)


def test_labels_off_the_grid_are_judged_by_their_pixels(folder: Path, tmp_path: Path) -> None:
    """Crops of other sizes at any place, one of which shows something else; with and without tags."""
    scene = read_image(folder / "left.png")
    cv2.imwrite(str(tmp_path / "whole.png"), scene)
    cv2.imwrite(str(tmp_path / "crop.png"), scene[17:180, 9:150])
    other = scene[17:180, 9:150].copy()
    other[-64:, -64:] = np.random.default_rng(9).integers(0, 256, (64, 64, 3))
    cv2.imwrite(str(tmp_path / "other.png"), other)
    (tmp_path / "labels.csv").write_text(
        "image1,image2,overlap_tag,y_offset,x_offset,is_duplicate\n"
        "whole.png,crop.png,,17,9,1\nwhole.png,crop.png,,17,12,0\nwhole.png,other.png,,17,9,0\n"
        "whole.png,whole.png,08,,,1\ncrop.png,whole.png,,-17,100,1\n"
    )
    labels = read_labels(tmp_path / "labels.csv")
    judged = judge_labels(labels, tmp_path, 0.5, tile_size=SIZE)
    assert judged["n_tiles"].tolist() == [9, 9, 9, 9, 0]
    verdicts = ["duplicate", "not_duplicate", "not_duplicate", "duplicate", "undecidable"]
    assert judged["verdict"].tolist() == verdicts
    assert judge_labels(labels.iloc[4:], tmp_path, 0.5, tile_size=SIZE)["n_tiles"].tolist() == [0]


def test_verdicts_and_outcomes(folder: Path) -> None:
    judged = judge_labels(LABELS, folder, load_weights().threshold, tile_size=SIZE)
    assert list(judged["n_tiles"]) == [6, 6, 9, 9, 6]
    assert list(judged["n_decidable"]) == [6, 6, 9, 9, 0]
    assert list(judged["verdict"]) == ["duplicate", *["not_duplicate"] * 3, "undecidable"]
    assert list(judged["outcome"]) == ["right", "wrong", "right", "wrong", "undecidable"]
    counts = outcome_counts(judged).set_index("label")
    assert counts.loc["duplicate"].to_list() == [3, 1, 2, 0]
    assert counts.loc["not_duplicate"].to_list() == [2, 1, 0, 1]
    assert counts.loc["all"].to_list() == [5, 2, 2, 1]


def test_the_score_is_the_lowest_of_the_shared_tiles(folder: Path) -> None:
    judged = judge_labels(LABELS, folder, 0.5, tile_size=SIZE)
    overlap = overlap_of_tag(RIGHT_OF)
    grid = Grid(tile_size=SIZE)
    left, changed = (split_tiles(read_image(folder / f"{name}.png"), grid) for name in ("left", "changed"))
    scores = compare(np.stack(left)[list(overlap.tiles1)], np.stack(changed)[list(overlap.tiles2)])["score"]
    assert judged["score"][1] == pytest.approx(scores.min(), abs=1e-6)
    assert np.isnan(judged["score"][4])


def test_another_network_scores_and_the_pixels_decide_what_is_undecidable(folder: Path) -> None:
    def predict(reader: PairReader) -> np.ndarray:
        return np.linspace(1, 0.6, len(reader), dtype=np.float32)

    judged = judge_labels(LABELS, folder, 0.5, predict, tile_size=SIZE)
    assert list(judged["outcome"]) == ["right", "right", "wrong", "right", "undecidable"]
    assert (np.diff(judged["score"][:4]) < 0).all()


def test_labels_without_their_images_are_refused(folder: Path) -> None:
    labels = labels_of(("left.png", "elsewhere.png", "08", 1))
    with pytest.raises(FileNotFoundError, match=r"1 of the 2 images of the table, such as 'elsewhere\.png'"):
        judge_labels(labels, folder, 0.5, tile_size=SIZE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image1,image2,is_duplicate\na,b,1\n", "lacks overlap_tag"),
        ("image1,image2,overlap_tag,is_duplicate\n", "has no rows"),
        ("a page\nwith\nsome, text\n", r"labels\.csv' is not a CSV table"),
        ("image1,image2,overlap_tag,is_duplicate\na,b,08,yes\n", "is_duplicate is 'yes'"),
        ("image1,image2,overlap_tag,is_duplicate\na,b,08,1\na,b,08,0\n", "a and b, overlap 08, are labelled"),
        ("image1,image2,y_offset,x_offset,is_duplicate\na,b,1.5,0,1\n", "y_offset is '1.5' in a row"),
        ("image1,image2,y_offset,x_offset,is_duplicate\na,b,1e30,0,1\n", "y_offset is '1e30' in a row"),
        ("image1,image2,y_offset,x_offset,is_duplicate\na,b,1,,1\n", "a and b have neither overlap_tag nor"),
        (
            "image1,image2,y_offset,x_offset,is_duplicate\na,b,1,2,1\na,b,1,2,0\n",
            r"overlap at \(1, 2\), are labelled",
        ),
    ],
)
def test_tables_that_are_no_labels(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_labels(tmp_path / "labels.csv")


def test_labels_are_read_as_text_and_once(tmp_path: Path) -> None:
    table = labels_of(("1e5", "NA", "08", 1), ("1e5", "NA", "08", 1), ("a", "b", "18", 0))
    table.assign(score=0.5).to_csv(tmp_path / "labels.csv", index=False)
    table.to_parquet(tmp_path / "labels.parquet")
    for name in ("labels.csv", "labels.parquet"):
        read = read_labels(tmp_path / name)
        assert read.columns.tolist() == list(COLUMNS)
        rows = read[["image1", "image2", "overlap_tag", "is_duplicate"]].to_numpy().tolist()
        assert rows == [["1e5", "NA", "08", 1], ["a", "b", "18", 0]]


def test_names_that_are_not_utf_8_are_spelled_out(tmp_path: Path) -> None:
    table = "image1,image2,overlap_tag,is_duplicate,é\né,b,08,1,é\n".encode("latin-1")
    (tmp_path / "labels.csv").write_bytes(table)
    assert read_labels(tmp_path / "labels.csv")["image1"].tolist() == ["\\xe9"]
    assert read_table(tmp_path / "labels.csv")["image1"].tolist() == ["\\xe9"]


def test_from_judgements_to_counts(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a person judged in the review is exported, and `dupnet evaluate --labels` scores it."""
    verdicts = ["duplicate", "duplicate", "not_duplicate", "duplicate", "undecidable"]
    grid = Grid(tile_size=SIZE)
    with Judgements(tmp_path / "pairs_judgements.csv") as judgements:
        for row, verdict in zip(LABELS.itertuples(), verdicts, strict=True):
            overlap = overlap_of_tag(row.overlap_tag, grid)
            offset = overlap.row_offset * SIZE, overlap.col_offset * SIZE
            judgements.judge(Judged(row.image1, row.image2, *offset, row.overlap_tag), verdict)
    assert export_labels(tmp_path / "pairs.csv", tmp_path / "labels.csv") == 4
    command = ["evaluate", "--labels", str(tmp_path / "labels.csv"), str(folder), "--tile-size", str(SIZE)]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "4 labelled overlaps" in said
    wrong = said.partition("Wrong:\n")[2].splitlines()
    assert [line.split()[:3] for line in wrong[1:3]] == [
        ["left.png", "changed.png", RIGHT_OF],
        ["left.png", "right.png", "08"],
    ]
    counts = pd.read_csv(tmp_path / "out" / "counts.csv").set_index("label")
    assert counts.loc["all", list(OUTCOMES)].to_list() == [2, 2, 0]
    judged = pd.read_csv(tmp_path / "out" / "judged.csv", dtype={"overlap_tag": str})
    assert list(judged["outcome"]) == ["right", "wrong", "right", "wrong"]

    # The order of the arguments is free, and every overlap is right or wrong by the threshold alone.
    assert main(["evaluate", str(folder), *command[1:3], "--tile-size", str(SIZE), "--threshold", "1"]) == 0
    assert " not_duplicate 1 1 0 0 " in " ".join(capsys.readouterr().out.split())

    shipped = load_weights()
    own = replace(
        shipped,
        arrays={**shipped.arrays, "first_stage_score.bias": np.float32([-60])},
        deferral_band=(90.0, 91.0),
    )
    (tmp_path / "own.npz").write_bytes(weights_bytes(replace(own, threshold=0.75)))
    assert main([*command, "--weights", str(tmp_path / "own.npz")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "threshold 0.75" in said and " duplicate 3 0 3 0 " in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table.csv", "images"], "name the folder of images alone"),
        (["nowhere"], "labels.csv"),
        ([], "IMAGES is missing"),
        (["images", "--split", "test"], "--split test goes with TABLE"),
        (["images", "--labels", ""], "'': No such file"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--labels", str(tmp_path / "labels.csv"), *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and message in said
