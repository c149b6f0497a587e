"""What a call of a search names: paths, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from dupnet.find.collection import CACHE, RECORD, Images

__all__ = ["check_call"]


def check_call(
    images: Images | None,
    out: str | os.PathLike[str] | None,
    against: str | os.PathLike[str] | None,
    add: bool,
    moved_to: Sequence[str | os.PathLike[str]],
) -> list[str | os.PathLike[str]] | None:
    """Check what a call names, as :func:`open_collection` takes it; returns its images as a list, or None.

    Raises
    ------
    TypeError
        If images are anything but paths.
    ValueError
        If a path is empty or a URL, or ``out`` is needed and missing, or holds no collection.
    NotADirectoryError
        If a single path is a file.
    """
    named = None if images is None else _as_list(images)
    for name, paths in (
        ("images", named or []),
        ("out", [out]),
        ("against", [against]),
        ("moved_to", moved_to),
    ):
        for path in paths:
            if path == "":
                raise ValueError(f"{name} is an empty path; name a folder ('.' is the current one).")
            if path is not None and "://" in os.fspath(path):
                raise ValueError(f"{os.fspath(path)!r} is a URL; give a scheduler (--scheduler) or a path.")
    if isinstance(images, str | os.PathLike) and os.path.isfile(images):
        raise NotADirectoryError(
            f"{os.fspath(images)!r} is a file; give the folder of images, or a list of files."
        )
    if out is None and (add or moved_to or named is None):
        needing = "add" if add else "moved_to" if moved_to else "a call without images"
        raise ValueError(f"{needing} needs out, the folder of the collection.")
    if out is not None and named is None and not Path(out, CACHE, RECORD).exists():
        raise ValueError(f"{os.fspath(out)!r} holds no collection; name the images.")
    return named


def _as_list(images: Images) -> list[str | os.PathLike[str]]:
    """Paths as a list; pixels, bytes, numbers and tables are none."""
    if isinstance(images, str | os.PathLike):
        return [images]
    remedy = "pass a folder, several, or a list of files (dupnet.compare takes pixels)"
    if isinstance(images, bytes) or not isinstance(images, Iterable) or getattr(images, "ndim", 1) != 1:
        shape = getattr(images, "shape", "")
        raise TypeError(f"images is of type {type(images).__name__} {shape}".rstrip() + f"; {remedy}.")
    named = list(images)
    for path in named:
        if not isinstance(path, str | os.PathLike):
            shown = " ".join(repr(path).split())[:60]
            raise TypeError(f"images holds {shown} of type {type(path).__name__}; {remedy}.")
    return named
