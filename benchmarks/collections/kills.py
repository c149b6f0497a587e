"""Runs of `dupnet find` that are killed at random moments and resumed, against one that nothing disturbed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from dupnet.images.listing import list_images

RUN = "import sys, dupnet; dupnet.find_overlaps(sys.argv[1], out=sys.argv[2], report=False)"


def kill_and_resume(images: Path, work: Path, kills: int, seed: int) -> dict[str, int]:
    """Kill (SIGKILL) runs at random moments, each resumed until one ends, and count.

    Parameters
    ----------
    images : path
        The collection.
    work : path
        Folder for the output of the runs, removed where it is not needed any more.
    kills : int
        At least so many; the last run is resumed to its end.
    seed : int
        For the moments, drawn evenly from 0.1 s to 1.2 times what the undisturbed run takes.

    Returns
    -------
    dict
        ``kills``, how far the killed runs were (``kills_before_any_image`` and so on), ``runs_finished``,
        and ``differences``: how many of these left other bytes in any CSV than the undisturbed run.
    """
    rng = np.random.default_rng(seed)
    n_images = len(list_images(images))
    counts = {"kills": 0}
    counts |= {f"kills_{name}": 0 for name in ("before_any_image", "after_some_images", "after_all_images")}
    counts |= {"kills_while_tables_were_written": 0, "runs_finished": 0, "differences": 0}
    start = time.perf_counter()
    _killed_after(None, images, work / "undisturbed")
    spent = time.perf_counter() - start
    while counts["kills"] < kills:
        out = work / f"out{counts['runs_finished']}"
        while _killed_after(rng.uniform(0.1, 1.2 * spent), images, out):
            counts["kills"] += 1
            counts[_how_far(out, n_images)] += 1
        counts["runs_finished"] += 1
        counts["differences"] += _tables(out) != _tables(work / "undisturbed")
        shutil.rmtree(out)
    return counts


def _killed_after(seconds: float | None, images: Path, out: Path) -> bool:
    """Start a run and kill it after some time; whether it was still running."""
    process = subprocess.Popen([sys.executable, "-c", RUN, images, out], cwd=Path(__file__).parents[2])
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return False


def _how_far(out: Path, n_images: int) -> str:
    """What a killed run left behind, as the name of a count."""
    if _tables(out):
        return "kills_while_tables_were_written"
    journals = list((out / "cache").glob("*/journal.jsonl"))
    n_described = max((journal.read_bytes().count(b"\n") for journal in journals), default=0)
    if not n_described:
        return "kills_before_any_image"
    return f"kills_after_{'all' if n_described >= n_images else 'some'}_images"


def _tables(out: Path) -> dict[str, bytes]:
    """Every CSV by its name, hidden ones too: a file left half-written is a difference."""
    return {path.name: path.read_bytes() for path in out.glob("*.csv")}
