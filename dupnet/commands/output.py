"""What commands print: results as text or JSON, names made harmless, and a closed pipe is no error."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

__all__ = ["is_terminal", "progress_of", "printable", "say", "say_json", "safe_output", "without_remarks"]

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Characters that a terminal obeys (control), that reverse the text around them, that nothing shows, or that
cannot be written (surrogates of names that are no UTF-8); but for the line end and the tabulator."""


_REMARK = re.compile(rb"WARNING: All log messages before absl::InitializeLog|[IW]\d{4} \d\d:\d\d:\d\d")
"""Lines of TensorFlow's log: the announcement, and what is information or warning."""


def printable(text: str) -> str:
    r"""A text with control, direction and undecodable characters spelled out: ``\x1b``, ``\u202e``."""
    return _HIDDEN.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def say(options: argparse.Namespace, text: str, *, detail: bool = False) -> None:
    """Print a part of the result; nothing where JSON is wanted. A ``detail`` is left out with ``--quiet``."""
    if not options.json and not (detail and options.quiet):
        print(text)


def say_json(options: argparse.Namespace, record: Mapping[str, Any]) -> None:
    """Print the whole result as JSON, if that is wanted; escaped to ASCII, as names may be anything."""
    if options.json:
        print(json.dumps(_plain(record), indent=2))


def progress_of(options: argparse.Namespace) -> bool:
    """Whether to show progress: not with ``--quiet``, nor into a file."""
    return not options.quiet and is_terminal()


def is_terminal() -> bool:
    """Whether somebody watches standard error."""
    return sys.stderr.isatty()


@contextmanager
def safe_output() -> Iterator[None]:
    """Standard output made safe while a command runs: see :func:`printable`; what follows after the reader
    of a pipe has gone (``| head``) is dropped, so that the exit status is still that of the command."""
    stream = sys.stdout
    safe = _Safe(stream)
    sys.stdout = safe
    try:
        yield
    finally:
        safe.flush()
        sys.stdout = stream
        if safe.is_broken:
            # The interpreter flushes once more when it ends, and would complain.
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())


@contextmanager
def without_remarks() -> Iterator[None]:
    """What TensorFlow's own C++ logs below an error is dropped: it writes to file descriptor 2 before any
    setting of its own counts. All else that is written there, and what Python writes, passes."""
    sys.stderr.flush()
    kept = os.dup(2)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    stream = sys.stderr
    if stream is sys.__stderr__:  # written straight through, so that a progress bar is no line to wait for
        sys.stderr = open(kept, "w", buffering=1, closefd=False, errors="backslashreplace")  # noqa: SIM115

    def pass_on() -> None:
        with open(reading, "rb") as lines:
            for line in lines:
                if not _REMARK.match(line):
                    os.write(kept, line)

    thread = threading.Thread(target=pass_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = stream
        os.dup2(kept, 2)  # closes the pipe's end, and so ends the thread, unless a child has it still
        thread.join(timeout=1)
        if not thread.is_alive():
            os.close(kept)


class _Safe:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_broken = False

    def write(self, text: str) -> int:
        shown = printable(text)
        if not self.is_broken:
            try:
                try:
                    self._stream.write(shown)
                except UnicodeEncodeError:  # a terminal that has no such letters
                    encoding = self._stream.encoding or "ascii"
                    self._stream.write(shown.encode(encoding, "backslashreplace").decode(encoding))
            except BrokenPipeError:
                self.is_broken = True
        return len(text)

    def flush(self) -> None:
        if not self.is_broken:
            try:
                self._stream.flush()
            except BrokenPipeError:
                self.is_broken = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _plain(value: Any) -> Any:
    """What JSON has words for: numpy's numbers as Python's, what is missing as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if hasattr(value, "item"):  # of numpy
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None if str(value) in ("<NA>", "NaT") else str(value)
