"""Splits as people have them, and names as people write them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pandas as pd
import pytest

from dupnet.find.names import ImageNames
from dupnet.splits.entries import entries_of
from dupnet.splits.lists import find_lists, of_folders, read_lists

IMAGES = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
WANTED = [("a.jpg", "train"), ("b.jpg", "train"), ("c.jpg", "val"), ("d.jpg", "test")]


def split_of(sources: list[str], images: list[str] = IMAGES, **columns: str) -> list[tuple[str, str]]:
    """``image, split`` as matched to the images, sorted."""
    table = read_lists(sources, images, **columns).table
    entries, unmatched = entries_of(table, images)
    assert unmatched.empty, unmatched
    return sorted((images[number], split) for number, split in entries.itertuples(index=False))


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("train/a.jpg", "train/a.jpg"),
        ("/data/set/train/a.jpg", "train/a.jpg"),
        ("C:\\set\\train\\a.jpg", "train/a.jpg"),
        ("./train/a.jpg", "train/a.jpg"),
        ("train/a", "train/a.jpg"),
        ("train/a.txt", "train/a.jpg"),
        ("other/c.jpg", "val/c.jpg"),
        ("c", "val/c.jpg"),
        ("v1.2", "val/v1.2.tif"),
        ("NA", "val/NA.png"),
        ("007", "007.jpg"),
    ],
)
def test_a_name_is_matched_where_that_is_unambiguous(name: str, image: str) -> None:
    known = ImageNames(["train/a.jpg", "val/a.jpg", "val/c.jpg", "val/v1.2.tif", "val/NA.png", "007.jpg"])
    assert known.match([name])["image"].tolist() == [image]
    assert known.n_matched([name]) == 1


def test_a_name_that_is_not_clear_is_listed_with_the_reason() -> None:
    known = ImageNames(["train/a.jpg", "val/a.jpg", "val/c.jpg", "e.jpg", "e.png"])
    matched = known.match(["a.jpg", "nowhere.jpg", "e"]).set_index("name")
    assert (matched["image"] == "").all()
    assert "fits 2 images, such as 'train/a.jpg' and 'val/a.jpg'" in matched.loc["a.jpg", "reason"]
    assert "no image of this name" in matched.loc["nowhere.jpg", "reason"]
    assert "fits 2 images" in matched.loc["e", "reason"]
    assert known.match(["e.png"])["image"].tolist() == ["e.png"]


def test_of_two_names_for_one_image_the_better_one_has_it() -> None:
    """``val/1.jpg`` was left out as unreadable; it is not ``train/1.jpg``."""
    known = ImageNames(["train/1.jpg"])
    matched = known.match(["train/1.jpg", "val/1.jpg"]).set_index("name")
    assert matched["image"].tolist() == ["train/1.jpg", ""]
    assert "which 'train/1.jpg' fits better" in matched.loc["val/1.jpg", "reason"]
    both = ImageNames(["1.jpg"]).match(["x/train/1.jpg", "x/val/1.jpg"])
    assert (both["image"] == "").all() and both["reason"].str.contains("other names").all()
    # Two spellings of one path are no rivals.
    assert ImageNames(["1.jpg"]).match(["1", "x/1.jpg"])["image"].tolist() == ["1.jpg", "1.jpg"]


# --- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "image,split\na.jpg,train\nb.jpg,train\nc.jpg,val\nd.jpg,test\n",
        "filename,set\na.jpg,train\nb.jpg,train\nc.jpg,val\nd.jpg,test\n",
        "File Name;fold\na;train\nb;train\nc;val\nd;test\n",
        "Image_ID\tSubset\na\ttrain\nb\ttrain\nc\tval\nd\ttest\n",
        "\ufeffid,label,x,Partition\na,ship,1,train\nb,NA,2,train\nc,ship,3,val\nd,,4,test\n",
        "path,class,usage\n/mnt/x/a.jpg,1,train\n/mnt/x/b.jpg,1,train\n/mnt/y/c.jpg,0,val\n/mnt/d.jpg,0,test\n",
        "a.jpg,train\nb.jpg,train\nc.jpg,val\nd.jpg,test\n",
        "a.jpg train\nb.jpg train\nc.jpg val\nd.jpg test\n",
        "where,phase\na.jpg,train\na.jpg,train\nb.jpg,train\nc.jpg,val\nd.jpg,test\n",
        "id,image,split\n1,a.jpg,train\n2,b.jpg,train\n3,c.jpg,val\n4,d.jpg,test\n",
        "set,image,fold\ntrain,a.jpg,1\ntrain,b.jpg,2\nval,c.jpg,3\ntest,d.jpg,4\n",
        "image,split,,\na.jpg,train,,\nb.jpg,train,,\nc.jpg,val,,\nd.jpg,test,,\n",
        "image,x,x,split\na.jpg,1,1,train\nb.jpg,1,1,train\nc.jpg,1,1,val\nd.jpg,1,1,test\n",
    ],
)
def test_tables_under_any_column_names(text: str, tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_text(text, encoding="utf-8")
    assert split_of([str(tmp_path / "splits.csv")]) == WANTED


def test_columns_can_be_named(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "image": IMAGES,
            "old": [*"abcd"],
            "what": IMAGES[::-1],
            "fold": ["1", "1", "2", "3"],
            "set": [*"wxyz"],
        }
    )
    path = tmp_path / "folds.parquet"
    table.to_parquet(path)
    with pytest.raises(ValueError, match="which column holds the split is not clear"):
        read_lists([str(path)], IMAGES)
    found = split_of([str(path)], split_column="fold")
    assert found == [("a.jpg", "1"), ("b.jpg", "1"), ("c.jpg", "2"), ("d.jpg", "3")]
    found = split_of([str(path)], image_column="what", split_column="old")
    assert found[0] == ("a.jpg", "d")
    for option, columns in (
        ("--image-column", {"image_column": "x", "split_column": "fold"}),
        ("--split-column", {"split_column": "x"}),
    ):
        with pytest.raises(ValueError, match=rf"has no column 'x' \({option}\)"):
            read_lists([str(path)], IMAGES, **columns)
    table[["fold", "set"]].to_csv(tmp_path / "none.csv", index=False)
    with pytest.raises(ValueError, match="no column holds names of these images"):
        read_lists([str(tmp_path / "none.csv")], IMAGES)


def test_json_of_records_names_and_pairs(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    by_split = {"train": ["a.jpg", "b.jpg"], "val": ["c"], "test": ["d.jpg"]}
    for content in (
        by_split,
        {name: split for split, names in by_split.items() for name in names},
        [{"file_name": name, "split": split, "n": 3} for split, names in by_split.items() for name in names],
    ):
        path.write_text(json.dumps(content))
        assert split_of([str(path)]) == WANTED


# --- lists, COCO, YOLO, folders -------------------------------------------------------------------


def coco(*names: str) -> str:
    return json.dumps(
        {"images": [{"id": n, "file_name": name} for n, name in enumerate(names)], "annotations": []}
    )


def test_one_list_a_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.txt").write_text("images/a.jpg\n\n./images/b.jpg\n")
    Path("val.txt").write_text("c -1\n")
    Path("third.lst").write_text("# what is left\nd.jpg\n")
    assert split_of(["train.txt", "val=val.txt", "test=third.lst"]) == WANTED
    with pytest.raises(ValueError, match=r"'third\.lst': which split it lists is not clear"):
        read_lists(["train.txt", "third.lst"], IMAGES)
    Path("val.csv").write_text("id,label\nc,ship\n")
    Path("names.json").write_text('["d"]')
    assert split_of(["train=train.txt", "val.csv", "test=names.json"]) == WANTED
    # A name with a space is one name.
    Path("test.txt").write_text("my d.jpg\n")
    assert split_of(["train=test.txt"], ["my d.jpg"]) == [("my d.jpg", "train")]


def test_lists_from_a_pipe(tmp_path: Path) -> None:
    """As a shell hands on what another command writes: ``<(...)``; there is no second look at it."""
    for content, source in ((b"image,split\na.jpg,train\nb.jpg,val\n", "{}"), (b"a.jpg\n", "train={}")):
        reader, writer = os.pipe()
        os.write(writer, content)
        os.close(writer)
        found = split_of([source.format(f"/dev/fd/{reader}")])
        os.close(reader)
        assert found[0] == ("a.jpg", "train")


@pytest.mark.parametrize(
    ("name", "content", "matched", "unmatched_names"),
    [
        (
            "x.csv",
            "image,split\na.jpg,train\né.jpg,train\nb.jpg,épreuve\n".encode("latin-1"),
            [0, 1],
            ["\\xe9.jpg"],
        ),
        (
            "x.csv",
            "image,split,é\na.jpg,train,é\né.jpg,train,\nb.jpg,épreuve,\n".encode("latin-1"),
            [0, 1],
            ["\\xe9.jpg"],
        ),
        ("x.json", b'{"train": ["a.jpg", "\\udce9.jpg"], "\\uD83D": ["b.jpg"]}', [0, 1], ["?.jpg"]),
        (
            "x.json",
            b'[{"image": "a.jpg", "split": "1", "\\udce9": 0}, {"image": "\\udce9", "split": "1"}]',
            [0],
            ["?"],
        ),
        ("train.txt", "a.jpg\né.jpg\n".encode("latin-1"), [0], ["\\xe9.jpg"]),
        ("x.yaml", "train: x\nval: é\n".encode("latin-1"), [0, 1], []),
    ],
)
@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of any bytes exist on Linux only")
def test_names_that_are_not_utf_8_fit_no_image(
    name: str, content: bytes, matched: list[int], unmatched_names: list[str], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    for file in (b"x/a.jpg", b"x/\xe9.jpg", b"\\xe9/b.jpg"):  # in the folders that the YAML names
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + file))
        path.parent.mkdir(exist_ok=True)
        path.touch()
    source = f"train={tmp_path / name}" if name.endswith(".txt") else str(tmp_path / name)
    entries, unmatched = entries_of([source], IMAGES)
    assert entries["number"].tolist() == matched
    assert unmatched["name"].tolist() == unmatched_names


def test_coco_files(tmp_path: Path) -> None:
    for split, names in (("train", ("a.jpg", "b.jpg")), ("val", ("c.jpg",)), ("test", ("sub/d.jpg",))):
        (tmp_path / f"instances_{split}2017.json").write_text(coco(*names))
    files = sorted(map(str, tmp_path.glob("*.json")))
    assert split_of(files) == WANTED
    assert split_of([f"train={files[1]}", f"val={files[2]}", f"test={files[0]}"]) == WANTED
    other = tmp_path / "half.json"
    other.write_text(json.dumps({"images": [{"id": 1, "coco_url": "http://x.org/y/a.jpg"}]}))
    assert split_of([f"train={other}"]) == [("a.jpg", "train")]
    other.write_text(json.dumps({"images": [{"id": 7}]}))
    with pytest.raises(ValueError, match="image 7 has no file_name"):
        read_lists([f"train={other}"], IMAGES)


def test_data_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, name in (("train", "a.jpg"), ("train", "b.jpg"), ("valid", "c.jpg"), ("more", "d.jpg")):
        (tmp_path / folder / "images").mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "images" / name).touch()
    (tmp_path / "rest.txt").write_text("./more/images/d.jpg\n")
    yaml = tmp_path / "data.yaml"
    # As Roboflow writes it: the folders lie beside the file, not above.
    yaml.write_text("train: ../train/images\nval: ../valid/images\ntest: [rest.txt]\nnc: 1\nnames: [ship]\n")
    assert split_of([str(yaml)]) == WANTED
    yaml.write_text(f"path: {tmp_path}\ntrain: train/images\nval: valid/images\ntest: more/images\n")
    assert split_of([str(yaml)]) == WANTED
    # The folders have moved; the images' own names tell.
    images = ["_train/images/a.jpg", "valid/images/c.jpg"]
    yaml.write_text("path: /gone\ntrain: ../_train/images/\nval: valid/images\n")
    elsewhere = tmp_path / "more" / "data.yaml"
    yaml.rename(elsewhere)
    assert split_of([str(elsewhere)], images) == [(images[0], "train"), (images[1], "val")]
    elsewhere.write_text("train: gone/images\n")
    with pytest.raises(FileNotFoundError, match="names 'gone/images', which is neither"):
        read_lists([str(elsewhere)], IMAGES)
    monkeypatch.chdir(tmp_path)
    elsewhere.write_text("path: [no, name]\ntrain: train/images\n")
    with pytest.raises(FileNotFoundError, match="names 'train/images', which is neither"):
        read_lists([str(elsewhere)], IMAGES)
    elsewhere.write_text("names: [ship]\n")
    with pytest.raises(ValueError, match="names no split"):
        read_lists([str(elsewhere)], IMAGES)


@pytest.mark.parametrize("layout", ["{split}/{name}", "{split}/images/{name}", "images/{split}2017/{name}"])
def test_folders(layout: str, tmp_path: Path) -> None:
    images = [layout.format(split=split, name=name) for name, split in WANTED]
    wanted = sorted(zip(images, (split for _, split in WANTED), strict=True))
    table = of_folders(images)
    assert table is not None
    assert sorted(table.itertuples(index=False, name=None)) == wanted
    for image in images:
        (tmp_path / image).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / image).touch()
    assert split_of([str(tmp_path)], images) == wanted
    folders = sorted({str(Path(tmp_path, image).parent) for image in images})
    if layout == "{split}/{name}":
        assert split_of(folders, images) == wanted
    assert find_lists(tmp_path, images).table["split"].nunique() == 3


def test_folders_that_tell_of_no_split() -> None:
    assert of_folders(["a.jpg", "b.jpg"]) is None
    assert of_folders(["train/a.jpg", "train/b.jpg"]) is None
    assert of_folders(["cat/a.jpg", "dog/b.jpg"]) is None
    # A folder of tests around all of it is none; one file beside the folders is in no split.
    table = of_folders(["test/train/a.jpg", "test/val/b.jpg", "c.jpg"])
    assert table is not None and table["split"].tolist() == ["train", "val"]


def test_what_a_folder_of_images_comes_with(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has neither folders such as train/ and val/ nor lists"):
        find_lists(tmp_path, IMAGES)
    (tmp_path / "classes.csv").write_text("image,label\na.jpg,1\n")
    (tmp_path / "splits.csv").write_text("image,split\na.jpg,train\nb.jpg,val\n")
    assert "splits.csv" in find_lists(tmp_path, IMAGES).description
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "train.txt").write_text("a\n")
    (tmp_path / "ImageSets" / "val.txt").write_text("b\nc\n")
    assert find_lists(tmp_path, IMAGES).table["image"].tolist() == ["a", "b", "c"]
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train.json").write_text(coco("a.jpg"))
    (tmp_path / "annotations" / "instances_val.json").write_text(coco("d.jpg"))
    assert find_lists(tmp_path, IMAGES).table["image"].tolist() == ["a.jpg", "d.jpg"]
    (tmp_path / "data.yaml").write_text("train: ImageSets/train.txt\nval: ImageSets/val.txt\n")
    assert "data.yaml" in find_lists(tmp_path, IMAGES).description


# --- what is refused ------------------------------------------------------------------------------


BOMB = b"a: &a [x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + n, 98 + n, b", ".join([b"*%c" % (97 + n)] * 9)) for n in range(20)
)
"""Lists of lists whose text would hold 9 ** 20 names."""
BOMB += b"train: *u\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"\xff\xd8\xff\xe0\0\0 a photograph", "no table in CSV"),
        ("x.csv", b"", "no table in CSV"),
        ("x.csv", b"image,split\na.jpg\n", "row 2 has 1 fields, the first has 2"),
        ("x.json", b"{" + b"x" * 500, "is no JSON"),
        ("x.json", b'{"categories": []}', "is JSON, but neither a COCO file"),
        ("x.json", b"[" * 100_000, "is no JSON"),
        ("x.yaml", b"train: [", "is no YAML"),
        ("x.yaml", b"train: " + b"[" * 5000, "is no YAML"),
        ("x.yaml", b"train: 2020-99-99", "is no YAML"),
        ("x.yaml", b"path: [a]\ntrain: gone", "names 'gone', which is neither"),
        ("x.yaml", BOMB, "train holds more than names of folders and lists"),
        ("train.txt", b"\n", "lists nothing"),
        ("train.txt", b"\x89PNG\0\0", "is no list of names"),
        ("x.parquet", b"PAR1", "Parquet table"),
    ],
)
def test_files_of_other_kinds_are_refused_in_a_few_words(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        read_lists([str(tmp_path / name)], IMAGES)
    assert len(str(error.value)) < 300 and name in str(error.value)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_lists([str(tmp_path / "none.csv")], IMAGES)
    with pytest.raises(ValueError, match="'train=' names no list"):
        read_lists(["train="], IMAGES)
    for source in ("/dev/zero", "train=/dev/zero", "val=/dev/full"):
        with pytest.raises(ValueError, match="is a device; name a file"):
            read_lists([source], IMAGES)
    with pytest.raises(ValueError, match="no split is given"):
        read_lists([], IMAGES)
    with pytest.raises(ValueError, match="has no folders of two splits"):
        read_lists([str(tmp_path)], IMAGES)
