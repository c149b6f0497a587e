"""The command line: ``dupnet COMMAND``, its commands from :mod:`dupnet.commands`.

An error that the user can fix (a ``ValueError`` or ``OSError``) becomes one line on standard error and exit
status 2; anything else is a defect, and is not hidden. A command that is stopped, by Ctrl-C or SIGTERM, takes
its temporary files away first.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn, TextIO

from dupnet import __version__
from dupnet.commands import COMMANDS
from dupnet.commands.output import printable, safe_output
from dupnet.files.extras import MissingExtra, extra

__all__ = ["main"]

INTERRUPTED, TERMINATED = 130, 143
"""Exit status after Ctrl-C and after SIGTERM: 128 + the signal, as shells have it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` (default: those of the process) name; returns the exit status."""
    with safe_output(), _terminated():
        options = _parser().parse_args(arguments)
        warnings.showwarning = _ignore_warning if getattr(options, "quiet", False) else _show_warning
        # TensorFlow's remarks on its own start would bury what a command says; it reads this when imported.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        try:
            with extra():
                return int(options.command(options) or 0)
        except KeyboardInterrupt as stop:
            print("\ndupnet: stopped; the same command goes on from here", file=sys.stderr)
            return TERMINATED if isinstance(stop, _Terminated) else INTERRUPTED
        except (ValueError, OSError, MissingExtra) as error:
            print(f"dupnet: {printable(' '.join(_message(error).split()))}", file=sys.stderr)
            return 2


class _Parser(argparse.ArgumentParser):
    """Bad use is one line, as bad input is."""

    def error(self, message: str) -> NoReturn:
        said = printable(" ".join(message.split()))
        self.exit(2, f"dupnet: {said}; see `{self.prog} --help`\n")


class _Terminated(KeyboardInterrupt):
    """SIGTERM: the same as Ctrl-C, so that temporary files are removed on the way out."""


@contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM raises :class:`_Terminated`, once: what is removed on the way out is not interrupted again."""
    if threading.current_thread() is not threading.main_thread():  # where signals cannot be had
        yield
        return

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="dupnet",
        description="Find duplicated tiles in satellite collections, rebuild the acquisitions, "
        "split without a leak.",
        epilog="exit status: 0 success, 1 if an audit finds a leak or labels disagree, 2 for wrong use, "
        "130 or 143 if stopped",
    )
    parser.add_argument("--version", action="version", version=f"dupnet {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


def _message(error: ValueError | OSError | MissingExtra) -> str:
    """What an error says; of the operating system's own the file and the reason, without a number."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = "" if error.filename is None else f"{os.fspath(error.filename)!r}: "
        return f"{where}{os.strerror(error.errno)}; make room and run the same command again"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fspath(error.filename)!r}: {error.strerror}"
    return str(error)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"dupnet: {printable(str(message))}", file=file or sys.stderr)


def _ignore_warning(*_: object, **__: object) -> None:
    """With ``--quiet``."""


if __name__ == "__main__":
    sys.exit(main())
