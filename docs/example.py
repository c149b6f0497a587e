"""The example of the README: what a random split of the sample leaks, as ``dupnet audit FOLDER`` tells it.

``python docs/example.py`` copies the images of ``data/sample`` into the folders train, val and test of
``chips`` at random, audits them, and writes what is printed into ``docs/example_audit.md`` and a part of it
into ``docs/example_audit_short.md``; a test holds both up to date.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "example_audit.md"
SHORT = ROOT / "docs" / "example_audit_short.md"
SPLITS, SHARES, SEED = ("train", "val", "test"), (8, 1, 1), 0


def page() -> str:
    """The command and what it prints, as Markdown."""
    with TemporaryDirectory() as folder:
        draw = random.Random(SEED)
        for split in SPLITS:
            Path(folder, "chips", split).mkdir(parents=True)
        for image in sorted((ROOT / "data" / "sample" / "images").iterdir()):
            shutil.copy(image, Path(folder, "chips", draw.choices(SPLITS, SHARES)[0], image.name))
        done = subprocess.run(
            [sys.executable, "-m", "dupnet", "audit", "chips"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
            capture_output=True,
            text=True,
        )
        if done.returncode != 1:
            raise RuntimeError(
                f"A random split leaks, but the audit ended with {done.returncode}: {done.stderr}"
            )
        shown = done.stdout.replace(str(Path(folder).resolve()), "").replace(folder, "")
    return f"```\n$ dupnet audit chips\n{shown.strip()}\n```\n"


def short(whole: str) -> str:
    """Of the page the command, the table of the splits and the verdict."""
    lines = whole.splitlines()
    end_of_table = lines.index("")
    verdict = next(number for number, line in enumerate(lines) if line.startswith("Leak:"))
    return "\n".join([*lines[:end_of_table], "...", *lines[verdict:]]) + "\n"


if __name__ == "__main__":
    whole = page()
    PAGE.write_text(whole, encoding="utf-8")
    SHORT.write_text(short(whole), encoding="utf-8")
    print(PAGE, SHORT)
