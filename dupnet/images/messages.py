"""What GDAL and the libraries below it say: caught by thread, in one line, without names of files."""

from __future__ import annotations

import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["cause_of", "ignore_missing_georeference", "listening", "plain"]


def cause_of(error: BaseException, source: str | os.PathLike[str] | bytes) -> str:
    """What was wrong in the end: the first error of a chain, in one line."""
    texts = []
    at: BaseException | None = error
    while at is not None:
        texts.append(str(at))
        at = at.__cause__ or at.__context__
    said = [text for text in map(str.strip, texts) if text and "See previous exception" not in text]
    return plain(said[0] if said else type(error).__name__, source) or type(error).__name__


def plain(message: str, source: str | os.PathLike[str] | bytes) -> str:
    """A message in one line, without the class of the error and the name of the file, which differs where a
    copy of it is read."""
    message = re.sub(r"/vsimem/[^\s,:']*", "image", message)
    own = ["image"]
    if not isinstance(source, bytes):
        own.append(Path(source).name)
        for name in (os.fspath(Path(source).absolute()), os.fspath(source)):
            message = message.replace(name, "image")
    message = re.sub(r"^CPLE_\w+ in (\S+: )?", "", " ".join(message.split()))
    for name in own:
        message = message.removeprefix(f"{name}, ").removeprefix(f"{name}: ")
    return message.strip().rstrip(".")


_heard = threading.local()


class _Listener(logging.Filter):
    """Takes what rasterio logs of the messages of GDAL while this thread reads."""

    def filter(self, record: logging.LogRecord) -> bool:
        messages: list[str] | None = getattr(_heard, "messages", None)
        if messages is None:
            return True
        if record.levelno >= logging.WARNING:
            messages.append(record.getMessage())
        return False


_listener = _Listener()


@contextmanager
def listening() -> Iterator[list[str]]:
    """Catch what GDAL says in this thread."""
    for name in ("rasterio._env", "rasterio._err", "rasterio._base", "rasterio._io", "rasterio"):
        logging.getLogger(name).addFilter(_listener)  # once, however often it is called
    before = getattr(_heard, "messages", None)
    _heard.messages = []
    try:
        yield _heard.messages
    finally:
        _heard.messages = before


def ignore_missing_georeference() -> None:
    """An image without a georeference is no cause for a warning; rasterio gives one at every opening."""
    from rasterio.errors import NotGeoreferencedWarning

    if not any(one[0] == "ignore" and one[2] is NotGeoreferencedWarning for one in warnings.filters[:4]):
        warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)
