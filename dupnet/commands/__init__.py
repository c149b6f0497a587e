"""What each command of ``dupnet`` takes and does, one module a command.

``add(commands)`` adds the command's parser. ``run(options)`` does its step with the parsed options, and
returns the exit status (``None`` for 0). A command imports what it needs when it runs, so that
``dupnet --help`` answers at once.
"""

from __future__ import annotations

from dupnet.commands import audit, clean, data, evaluate, find, labels, pairs, review, split, tiles, train

__all__ = ["COMMANDS"]

COMMANDS = (find, split, audit, clean, labels, review, tiles, pairs, train, evaluate, data)
"""The commands, in the order of the help."""
