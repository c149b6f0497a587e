"""Labels of images that show the same: read from any of the usual forms, and compared where both show it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from results import found, written

from dupnet.commands import cli
from dupnet.report import page as report
from dupnet.splits.conflicts import CONFLICT_COLUMNS, compare_labels
from dupnet.splits.labels import Labels, Thing, decode_counts, read_labels

Captured = pytest.CaptureFixture[str]

IMAGES = ["000.jpg", "001.jpg"]
REPORT = report.LABELS[0]


def runs(mask: npt.NDArray[np.bool_]) -> str:
    """A mask as the Airbus set has it: starts and lengths down the columns, from 1."""
    flat = np.concatenate([[0], mask.T.ravel().astype(int), [0]])
    edges = np.flatnonzero(np.diff(flat)) + 1
    return " ".join(f"{start} {stop - start}" for start, stop in zip(edges[::2], edges[1::2], strict=True))


def square(top: int, left: int, side: int = 10, shape: tuple[int, int] = (100, 100)) -> npt.NDArray[np.bool_]:
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


# --- reading --------------------------------------------------------------------------------------


def test_labels_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file\n000\n")
    with pytest.raises(ValueError, match="no column of labels"):
        read_labels(str(path), IMAGES)
    path.write_text("file,ship,sea\n/x/000.jpg,yes,NA\n001,no,rough\n001,no,calm\nstray,no,calm\n")
    labels = read_labels(str(path), IMAGES)
    assert labels.classes["000.jpg"] == {"ship=yes", "sea=NA"}
    assert labels.classes["001.jpg"] == {"ship=no", "sea=rough", "sea=calm"}
    assert labels.unmatched["name"].tolist() == ["stray"]
    assert labels.labelled() == set(IMAGES)
    assert read_labels(str(path), IMAGES, label="sea").classes["001.jpg"] == {"rough", "calm"}
    assert read_labels(str(path), IMAGES, image="file", label="ship").classes["000.jpg"] == {"yes"}
    for options, message in (({"image": "x"}, "--image-column"), ({"label": "x"}, "--label-column")):
        with pytest.raises(ValueError, match=message):
            read_labels(str(path), IMAGES, **options)
    with pytest.raises(ValueError, match=r"csv' labels no image of the collection; it has '/x/000\.jpg'"):
        read_labels(str(path), ["x.jpg"], image="file", label="ship")


def test_labels_of_class_folders(tmp_path: Path) -> None:
    images = ["train/cat/a.jpg", "val/images/dog/b.jpg", "c.jpg"]
    for image in images:
        (tmp_path / image).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / image).touch()
    assert read_labels(str(tmp_path), images).classes == {images[0]: {"cat"}, images[1]: {"dog"}}
    (tmp_path / "labels.csv").write_text("image,label\nc.jpg,cat\nstray,dog\n")
    labels = read_labels([str(tmp_path / "labels.csv"), str(tmp_path)], images)
    assert labels.unmatched["name"].tolist() == ["stray"]


def test_boxes_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("filename,class,xmin,ymin,xmax,ymax\n000.jpg,ship,1,2,11,22\n001.jpg,,,,,\n")
    labels = read_labels(str(path), IMAGES)
    assert labels.things == {"000.jpg": [Thing("ship", (2, 1, 20, 10))], "001.jpg": []}
    path.write_text("filename,xmin,ymin,xmax,ymax\n000.jpg,1,2,x,22\n")
    with pytest.raises(ValueError, match=r"of '000.jpg' is not of four numbers"):
        read_labels(str(path), IMAGES)


def test_coco(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    polygon = [10, 10, 20, 10, 20, 20, 10, 20]
    content = {
        "images": [
            {"id": 5, "file_name": "x/000.jpg"},
            {"id": 6, "file_name": "001.jpg"},
            {"id": 7, "file_name": "z"},
        ],
        "categories": [{"id": 1, "name": "ship"}],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 1, "bbox": [1, 2, 3, 4], "segmentation": []},
            {"id": 2, "image_id": 5, "category_id": 2, "segmentation": [polygon]},
            {"id": 3, "image_id": 5, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1},
            {"id": 4, "image_id": 7, "category_id": 1, "bbox": [0, 0, 9, 9]},
            {
                "id": 5,
                "image_id": 5,
                "category_id": 1,
                "bbox": [0, 0, 2, 2],
                "segmentation": {"counts": [0, 2, 98, 2, 9898], "size": [100, 100]},
            },
        ],
    }
    path.write_text(json.dumps(content))
    labels = read_labels([str(path)], IMAGES)
    first, second, third = labels.things["000.jpg"]
    assert first == Thing("ship", (2, 1, 4, 3), None)
    assert second.label == "2" and second.box == (10, 10, 10, 10)
    assert third.outline == ([0, 2, 98, 2, 9898], (100, 100))
    assert labels.things["001.jpg"] == [] and labels.unmatched["name"].tolist() == ["z"]
    content["annotations"] = [{"id": 9, "image_id": 5, "category_id": 1}]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="annotation 9 has neither a bbox nor an outline"):
        read_labels(str(path), IMAGES)
    for entry, fault in (
        ({"image_id": 5, "segmentation": {"size": [4, 4]}}, "'counts'"),
        ({"image_id": 5, "bbox": [1, 2]}, "an annotation is not as COCO has them"),
        ({"image_id": []}, "an annotation is not as COCO has them"),
        (7, "an annotation is not as COCO has them"),
    ):
        path.write_text(json.dumps({**content, "annotations": [entry]}))
        with pytest.raises(ValueError, match=fault):
            read_labels(str(path), IMAGES)
    path.write_text(json.dumps({**content, "categories": [{"id": {}}]}))
    with pytest.raises(ValueError, match="images or categories are not as COCO has them"):
        read_labels(str(path), IMAGES)
    path.write_text('{"a": 1}')
    with pytest.raises(ValueError, match="no COCO file"):
        read_labels(str(path), IMAGES)


def packed(counts: list[int]) -> str:
    """Run lengths in the characters of COCO files."""
    text = ""
    for number, count in enumerate(counts):
        value = count - counts[number - 2] if number > 2 else count
        more = True
        while more:
            low, value = value & 0x1F, value >> 5
            more = value not in (0, -1) or (value == 0) == bool(low & 0x10)
            text += chr(48 + low + 0x20 * more)
    return text


@pytest.mark.parametrize(
    "counts", [[0], [5, 3, 2], [0, 2, 98, 2, 9898], [100_000, 1, 15, 16, 17, 31, 32, 33, 1, 400]]
)
def test_compressed_run_lengths(counts: list[int]) -> None:
    assert decode_counts(packed(counts)) == counts
    assert decode_counts(packed(counts).encode()) == counts
    with pytest.raises(ValueError, match="cut off"):
        decode_counts(packed([100_000])[:-1])


def test_ship_masks(tmp_path: Path) -> None:
    path = tmp_path / "train_ship_segmentations_v2.csv"
    path.write_text("ImageId,EncodedPixels\n000.jpg,1 3\n000.jpg,101 3\n001.jpg,\n")
    assert read_labels(str(path), IMAGES).masks == {"000.jpg": "1 3 101 3", "001.jpg": ""}


# --- comparing ------------------------------------------------------------------------------------


def classes(*labels: str) -> Labels:
    return Labels(classes={f"{n:03d}.jpg": frozenset(label.split()) for n, label in enumerate(labels)})


def test_labels_of_whole_images_are_compared_from_a_share_on() -> None:
    result = found([(0, 0, 0), (0, 0, 40), (1, 0, 0), (1, 0, 0)])
    conflicts = compare_labels(classes("a", "b", "a b", "b c"), result)
    assert tuple(conflicts.table) == CONFLICT_COLUMNS
    columns = ["image1", "image2", "share", "kind", "label1", "label2", "agreement"]
    assert conflicts.table[columns].values.tolist() == [
        ["000.jpg", "001.jpg", 0.6, "class", "a", "b", 0.0],
        ["002.jpg", "003.jpg", 1.0, "class", "a, b", "b, c", 0.3333],
    ]
    assert conflicts.n_compared == 2
    high = compare_labels(classes("a", "b", "a b", "b c"), result, share=0.7)
    assert high.table["image1"].tolist() == ["002.jpg"] and high.n_compared == 1
    assert compare_labels(classes("a", "a", "b", "b"), result).table.empty
    partly = compare_labels(classes("a"), result)
    assert partly.n_compared == 0 and partly.n_unlabelled == 2


def boxes(*images: list[Thing]) -> Labels:
    return Labels(things={f"{n:03d}.jpg": things for n, things in enumerate(images)})


def test_boxes_are_compared_in_the_common_region() -> None:
    result = found([(0, 0, 0), (0, 20, 40)])
    ship, there = Thing("ship", (50, 60, 10, 10)), Thing("ship", (30, 20, 10, 10))
    assert compare_labels(boxes([ship], [there]), result).table.empty
    outside = Thing("ship", (0, 0, 10, 10))
    assert compare_labels(boxes([ship, outside], [there]), result).table.empty
    missed = compare_labels(boxes([ship], []), result).table
    assert missed[["kind", "label1", "label2", "agreement"]].values.tolist() == [
        ["boxes", "1 ship", "none", 0.0]
    ]
    other = compare_labels(boxes([ship], [there._replace(label="quay")]), result).table
    assert other[["label1", "label2"]].values.tolist() == [["1 ship", "1 quay"]]
    # Moved by 3 of 10 px: 70 of 130.
    moved = there._replace(box=(33.0, 20, 10, 10))
    assert compare_labels(boxes([ship], [moved]), result).table.empty
    assert len(compare_labels(boxes([ship], [moved]), result, iou=0.6).table) == 1
    two = compare_labels(boxes([ship, Thing("ship", (80, 80, 9, 9))], [there]), result).table
    assert two[["label1", "label2", "agreement"]].values.tolist() == [["2 ship", "1 ship", 0.5]]


def test_what_the_border_cuts_is_not_missed() -> None:
    """Less than half of the ship is in the common region, and the second image has no box of it."""
    result = found([(0, 0, 0), (0, 0, 40)])
    cut = Thing("ship", (50, 32, 10, 12))
    assert compare_labels(boxes([cut], []), result).table.empty
    assert len(compare_labels(boxes([Thing("ship", (50, 36, 10, 12))], []), result).table) == 1
    # A label of what is left of it is its partner all the same.
    assert compare_labels(boxes([cut], [Thing("ship", (50, 0, 10, 4))]), result).table.empty


def test_outlines_are_compared_as_masks() -> None:
    result = found([(0, 0, 0), (0, 0, 40)])
    polygon = np.array([[50, 50], [69, 50], [69, 69], [50, 69]], float)
    outline = Thing("ship", (50, 50, 20, 20), [polygon])
    counts = [
        int(n) for n in np.diff(np.flatnonzero(np.diff(square(50, 10, 20).T.ravel(), prepend=2, append=2)))
    ]
    # Columns first: zeros, ones, zeros, ...
    again = Thing("ship", (50, 10, 20, 20), (counts, (100, 100)))
    assert compare_labels(boxes([outline], [again]), result).table.empty
    moved = again._replace(outline=[polygon - (40, 12)])
    table = compare_labels(boxes([outline], [moved]), result).table
    assert table[["kind", "label1", "label2"]].values.tolist() == [["mask", "ship: 400 px", "ship: 400 px"]]
    assert table["agreement"].iloc[0] == pytest.approx(8 / 32, abs=1e-4)


def masks(*images: npt.NDArray[np.bool_]) -> Labels:
    return Labels(masks={f"{n:03d}.jpg": runs(mask) for n, mask in enumerate(images)})


def test_ship_masks_are_compared_in_the_common_region() -> None:
    result = found([(0, 0, 0), (0, 20, 40)])
    here, there, outside = square(50, 60), square(30, 20), square(0, 0)
    assert compare_labels(masks(here | outside, there), result).table.empty
    table = compare_labels(masks(here, np.zeros_like(there)), result).table
    assert table[["kind", "label1", "label2", "agreement"]].values.tolist() == [
        ["mask", "100 px", "0 px", 0.0]
    ]
    # The border shows 3 columns of 5 px of a ship, which is no boat yet.
    assert compare_labels(masks(square(95, 95, 3), square(0, 0) & False), result).table.empty
    shifted = compare_labels(masks(here, square(33, 20)), result)
    assert shifted.table.empty and shifted.n_compared == 1
    assert len(compare_labels(masks(here, square(33, 20)), result, iou=0.6).table) == 1
    with pytest.raises(ValueError, match=r"'000\.jpg': run_lengths '10001 1' do not fit 100 x 100"):
        compare_labels(Labels(masks={"000.jpg": "10001 1", "001.jpg": ""}), result)


def test_masks_of_images_that_are_not_square() -> None:
    result = found([(0, 0, 0), (0, 0, 10)], size=[(60, 100), (60, 90)])
    labels = masks(square(5, 40, shape=(60, 100)), square(5, 30, shape=(60, 90)))
    assert compare_labels(labels, result).table.empty


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return written(found([(0, 0, 0), (0, 0, 45), (1, 0, 0), (1, 0, 0), (2, 0, 0)]), tmp_path / "out")


def test_labels(results: Path, tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("image,ship,n\n000,1,1\n001,0,2\n002,1,3\n003,1,4\nstray,1,5\n")
    command = ["labels", str(path), str(results)]
    (results / "report.html").write_text(f"{REPORT}<p>Not compared.{report.LABELS[1]}")
    assert cli.main([*command, "--label-column", "ship"]) == 1
    said = capsys.readouterr().out
    assert "1 of 2 pairs of images that show the same have labels that disagree" in said
    assert "Searched: any offset" in said and "1 names of the labels fit no image" in said
    assert pd.read_csv(results / "label_conflicts.csv")["image1"].tolist() == ["000.jpg"]
    assert f"{REPORT}\n  <p>1 of 2 pairs of images" in (results / "report.html").read_text()
    assert cli.main([*command, "--label-column", "ship", "--share", ".6"]) == 0
    assert "0 of 1 pairs" in capsys.readouterr().out
    mine = tmp_path / "mine.csv"
    assert cli.main([*command, "--image-column", "image", "-o", str(mine), "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert len(record["conflicts"]) == 2 and record["out"] == str(mine) and mine.exists()
    assert cli.main([*command, "--image-column", "x"]) == 2
    capsys.readouterr()
    assert cli.main([*command, "-q"]) == 1
    assert "Searched" not in capsys.readouterr().out
    (results / "judgements.csv").write_text(
        "time,image1,image2,overlap_tag,y_offset,x_offset,verdict,reviewer\n"
        "now,000.jpg,001.jpg,,0,45,not_duplicate,\n"
    )
    assert cli.main([*command, "--label-column", "ship"]) == 0
    assert cli.main([*command, "--label-column", "ship", "--ignore-judgements"]) == 1
    mine.write_text("x\n")
    assert cli.main([*command, "-o", str(mine)]) == 2


def test_labels_of_several_files(results: Path, tmp_path: Path) -> None:
    for number, left in ((0, 50), (1, 8)):
        content = {
            "images": [{"id": 1, "file_name": f"{number:03d}.jpg"}],
            "categories": [{"id": 1, "name": "ship"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [left, 20, 10, 10]}],
        }
        (tmp_path / f"{number}.json").write_text(json.dumps(content))
    command = ["labels", str(tmp_path / "0.json"), str(tmp_path / "1.json"), str(results)]
    assert cli.main(command) == 0
    assert cli.main([*command, "--iou", "70%"]) == 1
