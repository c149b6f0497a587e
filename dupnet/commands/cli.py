"""The command line: ``dupnet COMMAND``, its commands from :mod:`dupnet.commands`.

An error that the user can mend (a ``ValueError`` or ``OSError``) becomes one line on standard error and exit
status 2; anything else is a defect, and is not hidden.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

from dupnet import __version__
from dupnet.commands import COMMANDS

__all__ = ["main"]

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 + SIGINT, as shells have it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` (default: those of the process) name; returns the exit status."""
    options = _parser().parse_args(arguments)
    warnings.showwarning = _show_warning
    # TensorFlow's remarks on its own start would bury what a command says; it reads this when it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        return int(options.command(options) or 0)
    except KeyboardInterrupt:
        print("\ndupnet: stopped; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError) as error:
        print(f"dupnet: {' '.join(_message(error).split())}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dupnet",
        description="Find every duplicated tile of a satellite collection, rebuild the acquisitions, "
        "split without a leak.",
    )
    parser.add_argument("--version", action="version", version=f"dupnet {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


def _message(error: ValueError | OSError) -> str:
    """What an error says; of the operating system's own the file and the reason, without a number."""
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
    print(f"dupnet: {message}", file=file or sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
