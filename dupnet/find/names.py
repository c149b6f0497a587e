"""A user's names for the images of a collection: paths of another machine, other prefixes, no ending.

Tables and lists that people have name an image as ``a.jpg``, ``/data/train/a.jpg``, ``train\\a.jpg``, ``a``
or ``a.txt``. A name is matched to an image of the collection where that is unambiguous, and otherwise listed
with the reason, never guessed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import pandas as pd

__all__ = ["ImageNames"]


class _Name(NamedTuple):
    """``folders``: of the path, without a drive, ``.`` and ``..``; ``file``: its last part; ``stem``: that
    without its ending."""

    folders: tuple[str, ...]
    file: str
    stem: str


class _Claim(NamedTuple):
    """How well a name fits an image: how many of its last folders are the image's, and whether the file is
    written as the image's (2), without its ending (1) or with another one (0)."""

    file: int
    folders: int


class ImageNames:
    """The images of a collection, to look up names in.

    Parameters
    ----------
    images : sequence of str
        Names of the collection: paths relative to its folder, with ``/``.
    """

    def __init__(self, images: Sequence[str]) -> None:
        self.images = list(images)
        self._known = set(self.images)

    def match(self, names: Iterable[str]) -> pd.DataFrame:
        """The image that each name stands for.

        Returns
        -------
        DataFrame
            ``name`` (each once, in order), ``image`` (empty where there is none) and ``reason`` (why there is
            none): the name fits no image, fits several equally well, or another name fits the image better.
        """
        unique = list(dict.fromkeys(map(str, names)))
        found: dict[str, tuple[str, str]] = {}
        claims: dict[str, list[tuple[_Claim, str]]] = defaultdict(list)
        for name in unique:
            if name in self._known:
                found[name] = (name, "")
                continue
            fit = self._fitting(_parsed(name))
            if not fit:
                found[name] = ("", "no image of this name was searched")
            elif len(fit) > 1:
                found[name] = ("", f"fits {len(fit)} images, such as {fit[0][1]!r} and {fit[1][1]!r}")
            else:
                claim, image = fit[0]
                found[name] = (image, "")
                claims[image].append((claim, name))
        _settle(claims, found)
        rows = [(name, *found[name]) for name in unique]
        return pd.DataFrame(rows, columns=["name", "image", "reason"], dtype=object)

    def n_matched(self, names: Iterable[object]) -> int:
        """How many of the names, each once, fit an image."""
        return int((self.match(map(str, names))["image"] != "").sum())

    @cached_property
    def _parts(self) -> dict[str, _Name]:
        return {image: _parsed(image) for image in self.images}

    @cached_property
    def _by_file(self) -> dict[str, list[str]]:
        return _listed((part.file, image) for image, part in self._parts.items())

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return _listed((part.stem, image) for image, part in self._parts.items())

    def _fitting(self, name: _Name) -> list[tuple[_Claim, str]]:
        """The images that a name fits best, and how well."""
        for file, candidates in (
            (2, self._by_file.get(name.file)),
            (1, self._by_stem.get(name.file)),
            (0, self._by_stem.get(name.stem)),
        ):
            if candidates:
                fits = [
                    (_Claim(file, _common(name.folders, self._parts[image].folders)), image)
                    for image in candidates
                ]
                best = max(claim for claim, _ in fits)
                return [(claim, image) for claim, image in fits if claim == best]
        return []


def _listed(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for key, image in pairs:
        found[key].append(image)
    return found


def _parsed(name: str) -> _Name:
    *folders, file = name.replace("\\", "/").rstrip("/").split("/")
    stem, dot, _ = file.rpartition(".")
    return _Name(
        tuple(folder for folder in folders if folder not in ("", ".", "..") and not folder.endswith(":")),
        file,
        stem if dot and stem else file,
    )


def _common(folders: tuple[str, ...], others: tuple[str, ...]) -> int:
    """How many folders two paths have in common, from the file upwards."""
    count = 0
    for one, other in zip(reversed(folders), reversed(others), strict=False):
        if one != other:
            break
        count += 1
    return count


def _settle(claims: Mapping[str, list[tuple[_Claim, str]]], found: dict[str, tuple[str, str]]) -> None:
    """Where several names claim one image, only those that can be spellings of one path keep it.

    Of ``train/1.jpg`` and ``val/1.jpg`` at most one is the image ``train/1.jpg``, although each alone would
    fit it.
    """
    exact = {image for name, (image, _) in found.items() if name == image}
    for image, rivals in claims.items():
        if len(rivals) == 1 and image not in exact:
            continue
        best = max(claim for claim, _ in rivals)
        leading = [name for claim, name in rivals if claim == best]
        leader = image if image in exact else leading[0]
        is_clear = image in exact or all(_compatible(leader, name) for name in leading)
        for _, name in rivals:
            if not is_clear:
                found[name] = ("", f"fits {image!r}, and so do other names in the list")
            elif not _compatible(leader, name):
                found[name] = ("", f"fits {image!r}, which {leader!r} fits better")


def _compatible(one: str, other: str) -> bool:
    """Whether two names may be spellings of one path: the shorter's folders are the last of the longer's."""
    first, second = _parsed(one), _parsed(other)
    return first.stem in (second.stem, second.file) and _common(first.folders, second.folders) == min(
        len(first.folders), len(second.folders)
    )
