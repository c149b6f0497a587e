"""``dupnet split`` and ``dupnet audit``, from files to the exit status; the truth of the cutter decides."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from results import found as made_up
from results import written
from textures import textured

from dupnet.acquisitions.crops import cut_crops
from dupnet.acquisitions.layouts import random_places
from dupnet.commands import cli
from dupnet.find.results import read_results
from dupnet.find.verdicts import COLUMNS

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Four pairs of overlapping images, and two images alone."""
    places = [(n // 2, 0, 40 * (n % 2)) for n in range(8)] + [(4, 0, 0), (5, 0, 0)]
    return written(made_up(places, revisits=[(8, 9, 0, 0)]), tmp_path / "out")


def splits_csv(path: Path, *names: str) -> str:
    images = [f"{number:03d}.jpg" for number in range(len(names))]
    pd.DataFrame({"image": images, "split": names}).to_csv(path, index=False)
    return str(path)


# --- split ----------------------------------------------------------------------------------------


def test_split_and_audit(results: Path, capsys: Captured) -> None:
    options = ["--ratios", "0.6", "0.4", "--names", "learn", "judge", "--seed", "1"]
    assert cli.main(["split", str(results), *options]) == 0
    said = capsys.readouterr().out
    assert "any offset; regions from 32 px" in said and "splits.csv" in said
    splits = pd.read_csv(results / "splits.csv")
    assert splits["split"].value_counts().to_dict() == {"learn": 6, "judge": 4}
    for command in (["audit", str(results / "splits.csv"), str(results)], ["audit", str(results)]):
        assert cli.main(command) == 0
        assert "No leak found among 10 images in 2 splits. Searched: any offset" in capsys.readouterr().out


def test_split_into_a_file_of_ones_own(results: Path, tmp_path: Path, capsys: Captured) -> None:
    assert cli.main(["split", str(results), "-o", str(tmp_path / "mine.csv"), "--seed", "3", "-q"]) == 0
    assert not (results / "splits.csv").exists()
    said = capsys.readouterr().out
    assert "Searched" not in said and "mine.csv" in said
    (tmp_path / "labels.csv").write_text("image,label\n")
    assert cli.main(["split", str(results), "-o", str(tmp_path / "labels.csv")]) == 2
    assert "exists and is not a table of image, group, split" in capsys.readouterr().err


def test_split_as_json(results: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "ships.csv").write_text("image,ships\n" + "".join(f"{n:03d},{n % 2}\n" for n in range(10)))
    options = ["--ratios", ".5", ".5", "--stratify", str(tmp_path / "ships.csv"), "--json"]
    assert cli.main(["split", str(results), *options]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [row["images"] for row in record["splits"]] == [5, 5] or record["splits"][0]["images"] in (4, 6)
    assert {row["ships"]: row["images"] for row in record["strata"]} == {0: 5, 1: 5}
    assert record["coverage"][0].startswith("Searched: any offset")


def test_split_keeps_revisits_together(results: Path) -> None:
    for seed in range(4):
        options = ["--ratios", ".5", ".5", "--keep-revisits", "--seed", str(seed)]
        assert cli.main(["split", str(results), *options]) == 0
        assert pd.read_csv(results / "splits.csv")["split"][8:].nunique() == 1


def test_split_by_blocks(tmp_path: Path, capsys: Captured) -> None:
    places = np.random.default_rng(0).integers(0, 3000, (200, 2))
    out = written(made_up([(0, *place) for place in places.tolist()], groups=[0] * 200), tmp_path / "out")
    assert cli.main(["split", str(out)]) == 2
    assert "--blocks PX" in capsys.readouterr().err
    assert cli.main(["split", str(out), "--blocks", "800"]) == 0
    assert "buffer" in capsys.readouterr().out
    assert cli.main(["audit", str(out)]) == 0
    assert "are set aside as 'buffer'" in capsys.readouterr().out


def test_split_from_a_given_one(results: Path, tmp_path: Path, capsys: Captured) -> None:
    given = splits_csv(tmp_path / "given.csv", *"aaabbbbbab")
    repaired = str(tmp_path / "repaired.csv")
    assert cli.main(["audit", given, str(results)]) == 1
    capsys.readouterr()
    assert cli.main(["split", str(results), "--from", given, "-o", repaired]) == 0
    assert "1 images move" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "moved.csv")) == 1
    assert cli.main(["audit", repaired, str(results)]) == 0
    capsys.readouterr()
    (tmp_path / "a.txt").write_text("000\n001\n002\n")
    (tmp_path / "b.txt").write_text("003\n004\nx/005.jpg\nstray\n")
    lists = [f"a={tmp_path / 'a.txt'}", f"b={tmp_path / 'b.txt'}"]
    assert cli.main(["split", str(results), "--from", *lists, "-o", repaired, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert len(record["moves"]) == 1 and record["left_out"] == 4
    assert [row["name"] for row in record["unmatched"]] == ["stray"]
    table = tmp_path / "table.csv"
    table.write_text("n,file,old,new\n" + "".join(f"{n},{n:03d},{n % 3},{n // 2}\n" for n in range(8)))
    columns = ["--image-column", "file", "--split-column", "new", "--keep-revisits"]
    assert cli.main(["split", str(results), "--from", str(table), "-o", repaired, *columns]) == 0
    assert "No image moves" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--from", "x.csv", "--ratios", ".5", ".5"], "--from keeps the given split"),
        (["--from", "x.csv", "--blocks", "9"], "excludes --blocks"),
        (["--from", "x.csv", "--stratify", "y.csv"], "excludes --stratify"),
        (["--image-column", "x"], "go with --from SPLITS"),
        (["--column", "ships"], "--column ships goes with --stratify CSV"),
        (["--names", "train", "buffer", "--ratios", ".5", ".5"], "'buffer' is what images in no split"),
    ],
)
def test_options_of_split_that_do_not_fit(
    options: list[str], message: str, results: Path, capsys: Captured
) -> None:
    assert cli.main(["split", str(results), *options]) == 2
    assert message in capsys.readouterr().err


# --- audit ----------------------------------------------------------------------------------------


def test_audit_of_a_leak(results: Path, tmp_path: Path, capsys: Captured) -> None:
    given = splits_csv(tmp_path / "given.csv", *"ababababab")
    pairs = tmp_path / "pairs.csv"
    assert cli.main(["audit", given, str(results), "--pairs", str(pairs)]) == 1
    said = capsys.readouterr().out
    for words in (
        "4 groups leak",
        "leaked_pixels",
        "000.jpg      a 001.jpg",
        "Leak: 4 pairs of images",
        "note: 1 pairs show one ground at two times",
        f"All 4 pairs: {pairs}",
    ):
        assert words in said
    table = pd.read_csv(pairs)
    assert table["share"].tolist() == [0.6] * 4 and table["height"].tolist() == [100] * 4
    assert cli.main(["audit", given, str(results), "-q"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("Leak: 4 pairs") and "note:" in said
    assert cli.main(["audit", given, str(results), "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["leaks"] and len(record["pairs"]) == 4 and record["results"] == str(results)
    assert record["splits"][0]["leaked_pixels"] == 4 * 6000
    assert len(record["revisits"]) == 1
    (tmp_path / "labels.csv").write_text("image,label\n")
    assert cli.main(["audit", given, str(results), "--pairs", str(tmp_path / "labels.csv")]) == 2


def test_audit_shows_the_worst_and_all_if_asked(tmp_path: Path, capsys: Captured) -> None:
    out = written(made_up([(n // 2, 0, n % 2) for n in range(60)]), tmp_path / "out")
    given = splits_csv(tmp_path / "given.csv", *"ab" * 30)
    shown = []
    for options in ([], ["-v"]):
        assert cli.main(["audit", given, str(out), *options]) == 1
        shown.append(capsys.readouterr().out.count(".jpg"))
    assert shown == [20, 60]


def test_audit_of_lists_and_of_named_columns(results: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "train.txt").write_text("/x/000.jpg\n/x/002.jpg\n")
    (tmp_path / "other.txt").write_text("001\n999\n")
    sources = [str(tmp_path / "train.txt"), f"val={tmp_path / 'other.txt'}"]
    assert cli.main(["audit", *sources, str(results)]) == 1
    said = capsys.readouterr().out
    assert "Names that fit no image" in said and "999" in said
    assert "note: 1 names of the split fit no image" in said
    assert "note: 7 images of the collection are in no split" in said
    table = tmp_path / "table.csv"
    table.write_text("image,name,a,b\nx,000,1,1\ny,001,1,2\n")
    columns = ["--image-column", "name", "--split-column"]
    assert cli.main(["audit", str(table), str(results), *columns, "a"]) == 0
    assert cli.main(["audit", str(table), str(results), *columns, "b"]) == 1
    assert cli.main(["audit", str(table), str(results), *columns, "c"]) == 2
    assert "has no column 'c'" in capsys.readouterr().err


def test_audit_needs_a_collection_at_the_end(results: Path, tmp_path: Path, capsys: Captured) -> None:
    given = splits_csv(tmp_path / "given.csv", "a", "b")
    assert cli.main(["audit", given]) == 2
    assert "nor a folder of images; end with one" in capsys.readouterr().err
    assert cli.main(["audit", given, str(results), "--grid", "256"]) == 2
    assert "are of a search" in capsys.readouterr().err
    splits_csv(tmp_path / "empty.csv")
    assert cli.main(["audit", str(tmp_path / "empty.csv"), str(results)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "empty.csv', columns 'image' and 'split': splits: there is no row" in said.err


def test_judgements_are_heeded(results: Path, tmp_path: Path, capsys: Captured) -> None:
    """Judged by eye no duplicates, two images may be in two splits; judged so, two others may not."""
    given = splits_csv(tmp_path / "given.csv", *"aabbaabbab")
    assert cli.main(["audit", given, str(results)]) == 0
    capsys.readouterr()
    header = ",".join(COLUMNS) + "\n"
    (results / "judgements.csv").write_text(header + "now,008.jpg,009.jpg,,0,10,duplicate,\n")
    assert cli.main(["audit", given, str(results)]) == 1
    assert "Judged by eye: 1 overlaps" in capsys.readouterr().out
    assert cli.main(["audit", given, str(results), "--ignore-judgements"]) == 0
    assert "Judged by eye" not in capsys.readouterr().out
    for seed in range(4):
        assert cli.main(["split", str(results), "--ratios", ".5", ".5", "--seed", str(seed)]) == 0
        assert pd.read_csv(results / "splits.csv")["split"][8:].nunique() == 1
    assert "Judged by eye" in capsys.readouterr().out
    split = ["split", str(results), "--ratios", ".5", ".5", "--ignore-judgements", "--seed"]
    apart = []
    for seed in range(6):
        assert cli.main([*split, str(seed)]) == 0
        apart.append(pd.read_csv(results / "splits.csv")["split"][8:].nunique() == 2)
    assert any(apart)
    (results / "judgements.csv").write_text(header + "now,000.jpg,001.jpg,,0,40,not_duplicate,\n")
    given = splits_csv(tmp_path / "given.csv", *"abbbaabbaa")
    assert cli.main(["audit", given, str(results)]) == 0
    assert cli.main(["audit", given, str(results), "--ignore-judgements"]) == 1


def test_find_heeds_judgements(tmp_path: Path, capsys: Captured) -> None:
    """A pair judged to be none is none in every table that follows, until the judgement is ignored."""
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    grey = textured(1, 300, contrast=25)[0]
    for name, left in (("a", 0), ("b", 100)):
        Image.fromarray(grey[:, left : left + 200]).save(images / f"{name}.png")
    command = ["find", str(images), "-o", str(out), "--no-report"]
    assert cli.main(command) == 0
    overlaps = read_results(out).overlaps
    assert len(overlaps) == 1
    offset = f"{overlaps['y_offset'][0]},{overlaps['x_offset'][0]}"
    row = f"now,a.png,b.png,,{offset},not_duplicate,"
    (out / "judgements.csv").write_text(",".join(COLUMNS) + f"\n{row}\n")
    capsys.readouterr()
    assert cli.main(command) == 0
    assert "Judged by eye: 1 overlaps are as judgements.csv has them" in capsys.readouterr().out
    result = read_results(out)
    assert result.overlaps.empty and result.groups["group"].nunique() == 2
    assert result.counts["duplicate"] == 0 and result.counts["groups"] == 2
    assert cli.main(["audit", str(out), str(out), "--ignore-judgements"]) == 2
    assert "run `dupnet find` with --ignore-judgements first" in capsys.readouterr().err
    assert cli.main([*command, "--ignore-judgements"]) == 0
    assert len(read_results(out).overlaps) == 1
    assert "Judged by eye" not in capsys.readouterr().out


def test_a_folder_that_is_searched_first_may_ignore_judgements(tmp_path: Path, capsys: Captured) -> None:
    images, out = tmp_path / "images", tmp_path / "images-dupnet"
    grey = textured(1, 300, contrast=25)[0]
    for name, left in (("train/a", 0), ("val/b", 100)):
        (images / name).parent.mkdir(parents=True)
        Image.fromarray(grey[:, left : left + 200]).save(images / f"{name}.png")
    assert cli.main(["audit", str(images)]) == 1
    row = "now,train/a.png,val/b.png,,0,100,not_duplicate,"
    (out / "judgements.csv").write_text(",".join(COLUMNS) + f"\n{row}\n")
    assert cli.main(["audit", str(images)]) == 0
    assert "Judged by eye: 1 overlaps" in capsys.readouterr().out
    assert cli.main(["audit", str(images), "--ignore-judgements"]) == 1
    assert "Judged by eye" not in capsys.readouterr().out


# --- from nothing, against the truth --------------------------------------------------------------

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops at random places of three acquisitions, dealt to three split folders in turn, with what the
    cutter says of them in ``truth.csv`` beside."""
    folder = tmp_path_factory.mktemp("crops")
    truths, names = [], []
    for number in range(3):
        grey = textured(1, 1400, seed=number, contrast=25)[0]
        places = random_places(1400, 1400, 9, sides=(256, 400), cover=1.2, seed=number)
        options = {"seed": number, "prefix": f"{number}"}
        truths.append(cut_crops(np.stack([grey] * 3, axis=-1), folder / f"{number}", places, **options).truth)
        names += sorted((folder / f"{number}" / "images").iterdir())
    split_of = {file.name: SPLITS[number % 3] for number, file in enumerate(names)}
    for file in names:
        (folder / "set" / split_of[file.name]).mkdir(parents=True, exist_ok=True)
        file.rename(folder / "set" / split_of[file.name] / file.name)
    truth = pd.concat(truths)
    for end in ("image1", "image2"):
        truth[end] = truth[end].map(split_of) + "/" + truth[end]
    truth.to_csv(folder / "truth.csv", index=False)
    return folder


def true_leaks(truth: pd.DataFrame, split_of: dict[str, str], least: int = 32) -> set[frozenset[str]]:
    """Pairs of images of two splits that truly share ``least`` px and more in both directions."""
    wide = truth[truth[["height", "width"]].min(axis=1) >= least]
    known = wide[wide["image1"].isin(split_of) & wide["image2"].isin(split_of)]
    pairs = zip(known["image1"], known["image2"], strict=True)
    return {frozenset(pair) for pair in pairs if split_of[pair[0]] != split_of[pair[1]]}


def true_pixels(truth: pd.DataFrame, split_of: dict[str, str], split: str) -> int:
    """Pixels of a split that another shows, by masks."""
    masks: dict[str, np.ndarray] = {}
    for row in truth.itertuples():
        if row.image1 in split_of and row.image2 in split_of and split_of[row.image1] != split_of[row.image2]:
            for image, top, left in (
                (row.image1, max(row.y_offset, 0), max(row.x_offset, 0)),
                (row.image2, max(-row.y_offset, 0), max(-row.x_offset, 0)),
            ):
                mask = masks.setdefault(image, np.zeros((400, 400), bool))
                mask[top : top + row.height, left : left + row.width] = True
    return sum(int(mask.sum()) for image, mask in masks.items() if split_of[image] == split)


def test_split_folders_from_nothing(crops: Path, tmp_path: Path, capsys: Captured) -> None:
    """The truth of the cutter decides: what `audit FOLDER` finds, and what `split --from` and `clean`
    leave."""
    truth, images = pd.read_csv(crops / "truth.csv"), crops / "set"
    names = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.jpg"))
    split_of = {name: name.split("/")[0] for name in names}
    wanted = true_leaks(truth, split_of)
    assert len(wanted) > 10

    pairs = tmp_path / "pairs.csv"
    assert cli.main(["audit", str(images), "--pairs", str(pairs), "--workers", "1"]) == 1
    said = capsys.readouterr()
    assert (
        "Split: the folders test, train, val of" in said.out and "any offset; regions from 32 px" in said.out
    )
    assert said.err == ""
    table = pd.read_csv(pairs)
    pairs_found = {frozenset(pair) for pair in zip(table["image1"], table["image2"], strict=True)}
    # All that is searched; narrower regions only where the places tell of them.
    assert wanted <= pairs_found <= true_leaks(truth, split_of, least=16)
    out = crops / "set-dupnet"
    assert (out / "run.json").exists() and not list(images.rglob("*.csv"))
    assert cli.main(["audit", str(images), str(out), "--json"]) == 1
    is_found = [frozenset(pair) in pairs_found for pair in zip(truth["image1"], truth["image2"], strict=True)]
    for row in json.loads(capsys.readouterr().out)["splits"]:
        assert row["leaked_pixels"] == true_pixels(truth[is_found], split_of, row["split"])

    repaired = tmp_path / "repaired.csv"
    assert cli.main(["split", str(out), "--from", str(images), "-o", str(repaired)]) == 0
    assert cli.main(["audit", str(repaired), str(out)]) == 0
    moved = pd.read_csv(repaired).set_index("image")["split"].to_dict()
    assert sorted(moved) == names and not true_leaks(truth, moved)

    links = tmp_path / "cleaned"
    assert cli.main(["clean", str(out), "--share", "0", "--link", str(links)]) == 0
    kept = {path.relative_to(links).as_posix(): path.parent.name for path in links.rglob("*.jpg")}
    assert 3 < len(kept) < len(names) and not true_leaks(truth, kept)
    assert cli.main(["audit", str(links)]) == 0
    assert "No leak found among" in capsys.readouterr().out


def test_a_folder_with_lists(crops: Path, tmp_path: Path, capsys: Captured) -> None:
    """Images without split folders, and COCO files beside them."""
    images = tmp_path / "images"
    images.mkdir()
    files = sorted((crops / "set").rglob("0*.jpg"))
    for file in files:
        shutil.copy(file, images)
    for split, part in (("train", files[::2]), ("val", files[1::2])):
        listed = [{"id": number, "file_name": file.name} for number, file in enumerate(part)]
        (images / f"instances_{split}.json").write_text(json.dumps({"images": listed}))
    assert cli.main(["audit", str(images)]) == 1
    assert "instances_train.json" in capsys.readouterr().out
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(files[0], bare)
    assert cli.main(["audit", str(bare)]) == 2
    assert "has neither folders such as train/ and val/ nor lists" in capsys.readouterr().err


def test_lists_beside_images_that_have_moved(crops: Path, tmp_path: Path, capsys: Captured) -> None:
    """The split of DIR is that of lists beside its images, which are elsewhere now."""
    images, moved, out = tmp_path / "here", tmp_path / "moved", str(tmp_path / "out")
    images.mkdir()
    files = sorted((crops / "set").rglob("0*.jpg"))
    for file in files:
        shutil.copy(file, images)
    for split, part in (("train", files[::2]), ("val", files[1::2])):
        listed = [{"id": number, "file_name": file.name} for number, file in enumerate(part)]
        (images / f"instances_{split}.json").write_text(json.dumps({"images": listed}))
    assert cli.main(["audit", str(images), "-o", out]) == 1
    verdict = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Leak:"))
    images.rename(moved)
    assert cli.main(["audit", out]) == 2
    assert "here" in capsys.readouterr().err
    assert cli.main(["audit", out, "--images", str(moved)]) == 1
    assert verdict in capsys.readouterr().out
    assert cli.main(["audit", str(moved), "--images", str(moved)]) == 2
    assert "--images tells where" in capsys.readouterr().err


def test_a_search_of_a_grid_says_so(crops: Path, tmp_path: Path, capsys: Captured) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number, file in enumerate(sorted((crops / "set" / "train").glob("*.jpg"))[:4]):
        Image.open(file).crop((0, 0, 256, 256)).save(images / f"{number}.png")
    (images / "splits.csv").write_text("image,split\n0,train\n1,val\n2,train\n3,val\n")
    out = tmp_path / "found"
    assert cli.main(["audit", str(images), "-o", str(out), "--grid", "64", "-q"]) in (0, 1)
    assert "whole tiles on a grid of 64 px only" in capsys.readouterr().out
    assert read_results(out).searched["grid"] == 64
