"""Splits as people have them: tables, lists, COCO files, a ``data.yaml`` of YOLO, folders of split folders.

Everything becomes one table, ``image, split``, with the names as they are written;
:class:`dupnet.find.names.ImageNames` matches them to the images of a collection.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from dupnet.find.names import ImageNames
from dupnet.splits.readers import (
    SPLIT_WORDS,
    check_column,
    coco_name,
    files_in,
    image_column,
    is_coco,
    is_names,
    read_json,
    read_lines,
    read_records,
    read_text,
    read_text_table,
    split_column,
    word_in,
)

__all__ = ["HOMES", "Lists", "find_lists", "of_folders", "read_lists"]

HOMES = ("", "annotations", "splits", "ImageSets", "ImageSets/Main", "labels")
"""Where lists of splits lie in a folder of images."""

_TABLES = (".csv", ".tsv", ".parquet")
_YAML = (".yaml", ".yml")


class Lists(NamedTuple):
    """``table``: ``image, split``, as written. ``description``: where it is from, in words."""

    table: pd.DataFrame
    description: str


def read_lists(
    sources: Sequence[str],
    images: Sequence[str],
    image_column: str | None = None,
    split_column: str | None = None,
) -> Lists:
    """Read a split.

    Parameters
    ----------
    sources : sequence of str
        One table with a column of images and one of splits (CSV, TSV, Parquet, JSON), a ``data.yaml``, or a
        folder of split folders; or several, each one split: ``NAME=FILE``, or files whose names have the
        split (``train.txt``, ``instances_val2017.json``). A file of one split is a list of one image a line,
        a COCO file, a table, or a folder.
    images : sequence of str
        The images of the collection, which tell a column of images from others.
    image_column, split_column : str, optional
        Columns of a table; guessed where they are clear.

    Raises
    ------
    ValueError
        If a file is none of these, a column is not clear, or there is nothing in it.
    OSError
        If a file cannot be read.
    """
    if not sources:
        raise ValueError("no split is given; name a table, lists, or a folder of split folders.")
    known = ImageNames(images)
    parts: list[pd.DataFrame] = []
    for source in sources:
        name, path = _named_source(source)
        if name is None and len(sources) == 1:
            lists = _whole(path, known, image_column, split_column)
            if lists is not None:
                return lists
        name = name or word_in(Path(path).stem)
        if name is None:
            raise ValueError(
                f"{path!r}: which split it lists is not clear from its name; write NAME=FILE, such as "
                f"train={path}."
            )
        parts.append(_table_of(name, _of_one_split(path, known, image_column)))
    return Lists(pd.concat(parts, ignore_index=True), "the lists " + ", ".join(map(repr, sources)))


def of_folders(images: Sequence[str]) -> pd.DataFrame | None:
    """The split of each image by the folders in its name, ``image, split``; None if they tell of none.

    The folder may be anywhere (``train/a.jpg``, ``images/val2017/a.jpg``), though at one depth for all: the
    first at which two splits are named.
    """
    folders = [image.split("/")[:-1] for image in images]
    for depth in range(max(map(len, folders), default=0)):
        words = [word_in(parts[depth]) if len(parts) > depth else None for parts in folders]
        if len({word for word in words if word}) > 1:
            rows = [(image, word) for image, word in zip(images, words, strict=True) if word]
            return pd.DataFrame(rows, columns=["image", "split"], dtype=object)
    return None


def find_lists(folder: str | os.PathLike[str], images: Sequence[str]) -> Lists:
    """The split that a folder of images comes with: its own folders, else a ``data.yaml``, COCO files, lists
    or a table in it, or in one of the folders :data:`HOMES`.

    Raises
    ------
    ValueError
        If there is none.
    """
    table = of_folders(images)
    if table is not None:
        words = ", ".join(sorted(table["split"].unique()))
        return Lists(table, f"the folders {words} of {os.fspath(folder)!r}")
    homes = [Path(folder, home) for home in HOMES if Path(folder, home).is_dir()]
    files = [sorted(path for path in home.iterdir() if path.is_file()) for home in homes]
    for endings in (_YAML, (".json",), (".txt",), _TABLES):
        for beside in files:
            some = [path for path in beside if path.suffix.lower() in endings]
            named = [path for path in some if word_in(path.stem) and endings is not _YAML]
            tried = [named] if len({word_in(path.stem) for path in named}) > 1 else []
            for paths in (*tried, *([path] for path in some)):
                lists = _attempt(paths, images)
                if lists is not None:
                    return lists
    raise ValueError(
        f"{os.fspath(folder)!r} has neither folders such as train/ and val/ nor lists of splits; name the "
        "split before it: a table, train=LIST val=LIST, or a folder of split folders."
    )


def _attempt(paths: Sequence[Path], images: Sequence[str]) -> Lists | None:
    """A split from these files, if they hold one of these images."""
    try:
        lists = read_lists([os.fspath(path) for path in paths], images)
    except (OSError, ValueError):
        return None
    several = lists.table["split"].nunique() > 1
    return lists if several and ImageNames(images).n_matched(lists.table["image"]) else None


def _named_source(source: str) -> tuple[str | None, str]:
    """``NAME=PATH`` as both; a path that has a ``=`` of its own is no such thing."""
    name, equals, path = source.partition("=")
    if equals and name.strip() and "/" not in name and not os.path.exists(source):
        if not path:
            raise ValueError(f"{source!r} names no list; write NAME=FILE.")
        return name.strip(), path
    return None, source


def _table_of(split: str, names: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({"image": list(names), "split": split}, dtype=object)


def _whole(path: str, known: ImageNames, image: str | None, split: str | None) -> Lists | None:
    """A split from one file or folder that has all of it; None if it is the list of one split."""
    if os.path.isdir(path):
        by_folder = of_folders(files_in(Path(path)))
        if by_folder is None:
            raise ValueError(
                f"{path!r} has no folders of two splits, such as train/ and val/; name a table, or "
                "NAME=FOLDER."
            )
        return Lists(by_folder, f"the folders of {path!r}")
    ending = Path(path).suffix.lower()
    if ending in _YAML:
        return Lists(_of_yaml(path, known), repr(path))
    if ending == ".json":
        content = read_json(path)
        if is_coco(content):
            return None
        values = list(content.values()) if isinstance(content, dict) else []
        if values and all(map(is_names, values)):
            return Lists(pd.concat([_table_of(name, names) for name, names in content.items()]), repr(path))
        if values and all(isinstance(value, str) for value in values):
            rows = list(content.items())
            return Lists(pd.DataFrame(rows, columns=["image", "split"], dtype=object), repr(path))
        table = read_records(content, path)
    elif ending not in _TABLES and word_in(Path(path).stem):
        return None
    else:
        table = read_text_table(path)
    image = image or image_column(table, known, path)
    check_column(table, image, path, "--image-column")
    split = split or split_column(table, image, path)
    check_column(table, split, path, "--split-column")
    found = table[[image, split]].set_axis(["image", "split"], axis=1)
    return Lists(found, f"{path!r}, columns {image!r} and {split!r}")


def _of_one_split(path: str, known: ImageNames, image: str | None) -> list[str]:
    """The names in a file or folder of one split."""
    if os.path.isdir(path):
        return [f"{Path(path).as_posix()}/{name}" for name in files_in(Path(path))]
    ending = Path(path).suffix.lower()
    if ending == ".json":
        content = read_json(path)
        if is_coco(content):
            return [coco_name(entry, path) for entry in content["images"]]
        if is_names(content):
            return [str(name) for name in content]
        table = read_records(content, path)
    elif ending in _TABLES:
        table = read_text_table(path)
    else:
        return read_lines(path, known)
    image = image or image_column(table, known, path)
    check_column(table, image, path, "--image-column")
    return [str(name) for name in table[image]]


def _of_yaml(path: str, known: ImageNames) -> pd.DataFrame:
    """The splits of a YOLO ``data.yaml``: folders or lists, one or several, from its ``path`` on."""
    import yaml

    text = read_text(path)
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: of a date that is none
        raise ValueError(f"{path!r} is no YAML ({' '.join(str(error).split())[:120]}).") from None
    entries = content.items() if isinstance(content, dict) else ()
    named = {split: value for split, value in entries if split in SPLIT_WORDS and value}
    if not named:
        raise ValueError(f"{path!r} names no split; a data.yaml has the keys train, val and perhaps test.")
    root, beside = content.get("path"), Path(path).parent
    roots = [beside / str(root), beside] if isinstance(root, str | int) else [beside]
    parts = []
    for split, value in named.items():
        for entry in value if isinstance(value, list) else [value]:
            # Lists in lists may, by references to one another, grow without end when they are written out.
            if not isinstance(entry, str | int | float):
                raise ValueError(f"{path!r}: {split} holds more than names of folders and lists; give those.")
            parts.append(_table_of(split, _yaml_entry(str(entry), roots, path, known)))
    return pd.concat(parts, ignore_index=True)


def _yaml_entry(entry: str, roots: Sequence[Path], path: str, known: ImageNames) -> list[str]:
    # Exports write ../train/images for a folder that lies beside the file itself.
    for relative in (entry, entry.removeprefix("../")):
        for root in roots:
            if (root / relative).exists():
                return _of_one_split(os.fspath(root / relative), known, None)
    inside = [image for image in known.images if f"/{entry.strip('./')}/" in f"/{image}"]
    if not inside:
        raise FileNotFoundError(f"{path!r} names {entry!r}, which is neither beside it nor under its path.")
    return inside
