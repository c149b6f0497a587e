"""``python -m dupnet``: the command line, where the ``dupnet`` script is not on the path."""

from __future__ import annotations

import sys

from dupnet.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
