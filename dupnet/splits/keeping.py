"""One of each of the duplicates: which images to keep, and which to leave out for the sake of a kept one."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dupnet.splits.ground import Found, common_ground

__all__ = ["KEEP_COLUMNS", "REMOVE_COLUMNS", "RULES", "Kept", "clean", "link_images", "sharpness"]

RULES = ("largest", "sharpest", "first", "labelled")
"""What decides which of two duplicates is kept: more pixels; more detail; the first name; having a label.
Among equals the larger is kept, and then the first."""

KEEP_COLUMNS = ("image", "group", "n_removed")
"""Columns of the table of images to keep; ``n_removed``: images left out for the sake of this one."""

REMOVE_COLUMNS = ("image", "kept", "share", "evidence", "reason")
"""Columns of the table of images to leave out: for which kept one, how much of the smaller of the two both
show, what tells (see :data:`dupnet.splits.ground.PAIR_COLUMNS`), and why that one was kept."""


_LINKS: dict[str, Callable[[Path, Path], object]] = {
    "symbolic links": os.symlink,
    "hard links": os.link,
    "copies": shutil.copy2,
}
"""Ways to make a file appear in another folder, the lightest first."""


class Kept(NamedTuple):
    """``keep``: the columns :data:`KEEP_COLUMNS`. ``remove``: the columns :data:`REMOVE_COLUMNS`."""

    keep: pd.DataFrame
    remove: pd.DataFrame


def clean(
    result: Found,
    rule: str = "largest",
    share: float = 0.5,
    *,
    labelled: Collection[str] = (),
    detail: Callable[[str], float] | None = None,
) -> Kept:
    """Choose which images to keep, so that no two of them have ``share`` in common.

    Every image that is left out has a kept one with which it has ``share`` or more in common itself: of a
    chain of images each of which overlaps the next, none is left out for the sake of one that is left out,
    too.

    Parameters
    ----------
    result : FindResult
        What ``find`` found.
    rule : str
        One of :data:`RULES`.
    share : float
        Of the smaller of two images, from which on they count as duplicates of each other, 0 to 1; any common
        ground counts with 0.
    labelled : collection of str
        Images that have a label, for the rule ``labelled``.
    detail : callable, optional
        The sharpness of an image by its name, for the rule ``sharpest``; of images that have a duplicate.

    Raises
    ------
    ValueError
        If there is no such rule, the share is out of range, or the rule lacks what it needs.
    """
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}; it must be one of {', '.join(RULES)}.")
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}; it must be in 0 to 1.")
    groups = result.groups.reset_index(drop=True)
    images = groups["image"].tolist()
    pairs = common_ground(result.overlaps, groups)
    pairs = pairs[pairs["share"] >= share].sort_values("share", ascending=False, kind="stable")
    pairs = pairs.drop_duplicates(["number1", "number2"])
    twins: dict[int, dict[int, tuple[float, str]]] = {}
    for one, other, common, evidence in pairs[["number1", "number2", "share", "evidence"]].itertuples(
        index=False
    ):
        twins.setdefault(one, {})[other] = (common, evidence)
        twins.setdefault(other, {})[one] = (common, evidence)

    merit = _merit(rule, images, sorted(twins), labelled, detail)
    n_pixels = (groups["height"] * groups["width"]).to_numpy(np.int64)
    order = sorted(twins, key=lambda number: (-merit.get(number, 0.0), -n_pixels[number], images[number]))
    kept: set[int] = set()
    removed = []
    for number in order:
        rivals = [other for other in twins[number] if other in kept]
        if not rivals:
            kept.add(number)
            continue
        best = max(rivals, key=lambda other: (twins[number][other][0], -other))
        common, evidence = twins[number][best]
        reason = _reason(rule, best, number, merit, n_pixels)
        removed.append((images[number], images[best], round(float(common), 4), evidence, reason))
    remove = pd.DataFrame(removed, columns=list(REMOVE_COLUMNS)).sort_values("image", ignore_index=True)
    counts = Counter(remove["kept"])
    keep = groups.loc[~groups["image"].isin(remove["image"]), ["image", "group"]].reset_index(drop=True)
    keep["n_removed"] = [counts[image] for image in keep["image"]]
    return Kept(keep, remove)


def sharpness(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> float:
    """How much detail a grey image (height, width) shows: the variance of its Laplacian.

    J. L. Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy: a comparative study, ICPR 2000,
    doi:10.1109/ICPR.2000.903548.
    """
    import cv2

    return float(cv2.Laplacian(pixels, cv2.CV_64F).var())


def link_images(
    images: Mapping[str, Path] | Sequence[tuple[str, Path]], folder: str | os.PathLike[str]
) -> str:
    """Make a folder of links to images, under their own names; nothing of the images is touched.

    Parameters
    ----------
    images : mapping or pairs
        Name, which may have folders, and file.
    folder : path
        Made; it must not hold anything.

    Returns
    -------
    str
        What was made: ``symbolic links``; where the file system has none, ``hard links``; else ``copies``.

    Raises
    ------
    ValueError
        If the folder holds something, or a name leads out of it.
    OSError
        If it cannot be written.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{os.fspath(folder)!r} is not empty; choose a new folder for the links.")
    kinds = list(_LINKS)
    for name, file in dict(images).items():
        place = target / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{name!r} leads out of {os.fspath(folder)!r}; it is no name of an image.")
        if not file.exists():
            raise FileNotFoundError(f"{os.fspath(file)!r} is not there any more; search the images again.")
        place.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                _LINKS[kinds[0]](file.resolve(), place)
                break
            except OSError:
                if len(kinds) == 1:
                    raise
                kinds.pop(0)
    return kinds[0]


def _merit(
    rule: str,
    images: Sequence[str],
    numbers: Sequence[int],
    labelled: Collection[str],
    detail: Callable[[str], float] | None,
) -> dict[int, float]:
    """What the rule says of each image that has a duplicate; the higher is kept."""
    if rule == "labelled":
        has = set(labelled)
        if not has.intersection(images):
            raise ValueError("labelled: none of these images has a label; name the labels (--labels LABELS).")
        return {number: float(images[number] in has) for number in numbers}
    if rule == "sharpest":
        if detail is None:
            raise ValueError("detail: the rule 'sharpest' needs the sharpness of images.")
        return {number: detail(images[number]) for number in numbers}
    if rule == "first":
        rank = np.argsort(np.argsort(np.asarray(images, dtype=object)))
        return {number: -float(rank[number]) for number in numbers}
    return {}


def _reason(
    rule: str,
    kept: int,
    removed: int,
    merit: Mapping[int, float],
    n_pixels: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
) -> str:
    if rule == "first":
        return "the other comes first"
    if merit.get(kept, 0.0) > merit.get(removed, 0.0):
        return {"labelled": "the other has a label", "sharpest": "the other is sharper"}[rule]
    if n_pixels[kept] > n_pixels[removed]:
        return "the other is larger"
    return "equal, and the other comes first"
