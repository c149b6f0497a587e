"""Lists and tables of images, in the forms that people keep them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from dupnet.find.names import ImageNames
from dupnet.splits.readers import (
    check_column,
    coco_name,
    files_in,
    image_column,
    is_coco,
    is_names,
    read_json,
    read_lines,
    read_records,
    read_text_table,
    split_column,
    word_in,
)

KNOWN = ImageNames(["a/000.jpg", "a/001.jpg", "b/NA.jpg", "b/two words.jpg"])


def table_of(text: str | bytes, path: Path) -> list[list[str]]:
    """A table's header and rows."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    table = read_text_table(str(path))
    return [list(table.columns), *table.to_numpy().tolist()]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("instances_train2017.json", "train"),
        ("Val-part1", "val"),
        ("train_and_val", None),
        ("contest", None),
        ("2017", None),
    ],
)
def test_splits_that_names_speak_of(name: str, word: str | None) -> None:
    assert word_in(name) == word


@pytest.mark.parametrize(
    "text",
    ["image,split\n007,train\nNA,1e5\n", "\ufeffimage;split\r\n007;train\r\n\r\nNA;1e5\r\n",
     "image\tsplit\n007\ttrain\nNA\t1e5", "image|split\n007|train\nNA|1e5",
     "image split\n007 train\nNA 1e5\n",
     'image,split\n"007",train\n"NA","1e5"\n'],
)  # fmt: skip
def test_tables_of_any_delimiter_are_text(text: str, tmp_path: Path) -> None:
    rows = table_of(text, tmp_path / "t.csv")
    assert rows == [["image", "split"], ["007", "train"], ["NA", "1e5"]]


def test_tables_without_a_header_and_with_two_columns_of_one_name(tmp_path: Path) -> None:
    assert table_of("000.jpg,Train\n001.jpg,val\n", tmp_path / "t.csv") == [
        ["column 1", "column 2"],
        ["000.jpg", "Train"],
        ["001.jpg", "val"],
    ]
    # A single column may be called as a split is, and hold the images of that split.
    assert table_of("train\n000.jpg\n", tmp_path / "t.csv") == [["train"], ["000.jpg"]]
    assert table_of("a, b,b,b\n1,2,3,4\n", tmp_path / "t.csv")[0] == ["a", "b", "b (2)", "b (3)"]


def test_parquet_as_text(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="without pyarrow there is no Parquet")
    pd.DataFrame({"image": ["a", None], "fold": [1, 2]}).to_parquet(tmp_path / "t.PARQUET")
    assert read_text_table(str(tmp_path / "t.PARQUET")).to_numpy().tolist() == [["a", "1"], ["", "2"]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no table in CSV and UTF-8; give one"),
        (b"  \n ", "is no table in CSV and UTF-8; give one"),
        (b"a,b\0\n", "is no table in CSV and UTF-8; give one"),
        (b"a,b\n1,2\n3\n", "its row 3 has 1 fields, the first has 2"),
        (b"a,b\n1,2,3\n", "its row 2 has 3 fields, the first has 2"),
        (b'a,b\n"' + 200_000 * b"x" + b'",1\n', r"is no table in CSV \(field larger"),
    ],
)
def test_what_is_no_table(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        table_of(data, tmp_path / "t.csv")


def test_lists_of_one_image_a_line(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    for text, names in (
        ("\ufeff000.jpg\n\n# a remark\n  001.jpg \n", ["000.jpg", "001.jpg"]),
        ("000 1\n001\t-1\n", ["000", "001"]),
        ("000,3\n001;4\n", ["000", "001"]),
        ("two words.jpg\n000.jpg\n", ["two words.jpg", "000.jpg"]),  # whole lines fit as many images
    ):
        path.write_text(text, encoding="utf-8")
        assert read_lines(str(path), KNOWN) == names
    for content, message in (
        (b"\n# none\n", "lists nothing; give one image a line"),
        (b"a\0", "is no list of"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_lines(str(path), KNOWN)


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"images": []}')
    assert read_json(str(path)) == {"images": []}
    for text in ("{", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"x\.json' is no JSON \("):
            read_json(str(path))
    records = read_records([{"image": "a", "n": 1}, {"image": None, "n": 2.5}], "x.json")
    assert records.to_numpy().tolist() == [["a", "1"], ["", "2.5"]]
    for content in ([], {"a": 1}, [1, 2], [{"a": 1}, 2]):
        with pytest.raises(ValueError, match="neither a COCO file"):
            read_records(content, "x.json")


def test_coco_files() -> None:
    assert is_coco({"images": []}) and is_coco({"images": [{}], "annotations": 1})
    assert not any(is_coco(content) for content in ({}, [], {"images": {}}, {"images": [1]}, "images"))
    assert coco_name({"file_name": "a.jpg", "coco_url": "http://x/b.jpg"}, "x") == "a.jpg"
    assert coco_name({"coco_url": "http://x/b.jpg"}, "x") == "b.jpg"
    with pytest.raises(ValueError, match="'x': image 7 has no file_name"):
        coco_name({"id": 7}, "x")
    assert is_names(["a", 1]) and not any(map(is_names, ([], "ab", [None], [["a"]], {"a": 1})))


def column_of(text: str, tmp_path: Path) -> str:
    (tmp_path / "t.csv").write_text(text)
    return image_column(read_text_table(str(tmp_path / "t.csv")), KNOWN, "t.csv")


def test_the_column_of_images(tmp_path: Path) -> None:
    assert column_of("id,File Name,x\n1,000,a\n2,001,b\n", tmp_path) == "File Name"
    assert column_of("image,file,x\nzzz,000,000\n", tmp_path) == "file"  # so called, and it fits
    assert column_of("image,x\nzzz,000\n", tmp_path) == "x"  # what is so called fits none
    assert column_of("image,x\nzzz,yyy\n", tmp_path) == "image"  # none fits: what is so called
    assert column_of("what,x,where\n000,000,000\n001,zzz,001\n", tmp_path) == "what"
    with pytest.raises(ValueError, match=r"no column holds names of these images \(u, v\); name it"):
        column_of("u,v\n1,2\n", tmp_path)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("i,Data_Split,x\na,1,2\n", "Data_Split"),
        ("i,x,y\na,train,5\nb,val,6\n", "x"),
        ("i,anything\na,left\n", "anything"),
        ("i,set,fold\na,train,1\nb,Test ,2\n", "set"),
        ("i,set,fold\na,1,train\n", "fold"),
        ("i,label\na,train\nb,val\n", "label"),
        ("i,label,where\na,ship,1\nb,sea,2\n", "where"),
    ],
)
def test_the_column_of_splits(text: str, column: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert split_column(read_text_table(str(tmp_path / "t.csv")), "i", "t.csv") == column


@pytest.mark.parametrize(
    "text",
    [
        "i,x,y\na,1,2\n",
        "i,set,fold\na,1,2\n",
        "i,x,y\na,train,val\n",
        "i,Class_Name\na,ship\nb,sea\n",
        "i,EncodedPixels\na,1 2\n",
    ],
)
def test_a_column_of_splits_that_is_not_clear(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match="which column holds the split is not clear"):
        split_column(read_text_table(str(tmp_path / "t.csv")), "i", "t.csv")


def test_a_column_that_is_not_there() -> None:
    table = pd.DataFrame({"a": ["1"], "b": ["2"]})
    check_column(table, "a", "t.csv", "--image-column")
    with pytest.raises(ValueError, match=r"'t.csv' has no column 'c' \(--split-column\); it has a, b\."):
        check_column(table, "c", "t.csv", "--split-column")


def test_files_of_a_folder(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/1.jpg", "a/x/3.jpg", ".hidden/4.jpg", "a/.side", "0.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(name))
    assert files_in(tmp_path) == ["0.json", "a/x/3.jpg", "b/1.jpg", "b/2.jpg"]
