"""Runs of `dupnet find` that are killed at random moments of every step and resumed, against one that nothing
disturbed; on one machine the power is lost after every second kill, too."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

RUN = """
import contextlib, json, os, sys
from pathlib import Path
import dupnet
from dupnet.find import cache, engine, results

options = json.loads(sys.argv[4])
find = dupnet.find_overlaps
if "scheduler" in options:
    from dupnet.cluster import distributed as engine
    find = engine.find_on_cluster

class Told(results.Clock):
    @contextlib.contextmanager
    def __call__(self, step):
        Path(sys.argv[3], "step").write_text(step)
        with super().__call__(step):
            yield

def fsync(file, fsync=os.fsync):
    fsync(file)
    synced[os.readlink(f"/proc/self/fd/{file}")] = os.fstat(file).st_size
    tell()

def replace(source, target, replace=os.replace):
    replace(source, target)
    if os.fspath(source) in synced:
        synced[os.fspath(target)] = synced.pop(os.fspath(source))
        tell()

def tell():
    beside = Path(sys.argv[3], "synced.new")
    beside.write_text(json.dumps(synced))
    beside.rename(Path(sys.argv[3], "synced"))

known = Path(sys.argv[3], "synced")
synced = json.loads(known.read_text()) if known.exists() else {}
engine.Clock, cache.SYNC_SECONDS = Told, 0.1
os.fsync, os.replace = fsync, replace
find(sys.argv[1], out=sys.argv[2], report=False, **options)"""
"""A run that tells of each step as it begins, and how much of each file has been synced."""

POLL_SECONDS = 0.002


def kill_and_resume(images: Path, work: Path, kills: int, seed: int, **search: Any) -> dict[str, int]:
    """Kill (SIGKILL) runs at random moments, each resumed and killed again, once a step, then resumed to its
    end, and count.

    Parameters
    ----------
    images : path
        The collection.
    work : path
        Folder for the output of the runs, removed where it is not needed any more.
    kills : int
        So many.
    seed : int
        For the moments. The steps take turns, the start of Python first; within a step the moment is drawn
        evenly from what the step of the undisturbed run took.
    **search
        Options of the search. With ``scheduler``, of :func:`dupnet.cluster.distributed.find_on_cluster`: the
        client is killed, and the power is not lost, for the workers write and go on.

    Returns
    -------
    dict
        ``kills``, in how many of them the power was ``lost`` too (see :func:`lose_power`), how many came in
        which step (``kills_start``, ``kills_describe_points`` and so on), ``runs_finished``, and
        ``differences``: how many of these left other bytes in any CSV than the undisturbed run.
    """
    rng = np.random.default_rng(seed)
    start = time.perf_counter()
    _killed_in("", None, images, work / "undisturbed", search)
    seconds = json.loads((work / "undisturbed" / "run.json").read_text())["seconds"]
    seconds = {"start": max(0.2, time.perf_counter() - start - sum(seconds.values())), **seconds}
    counts = {"kills": 0, "lost": 0} | {_name(step): 0 for step in seconds}
    counts |= {"runs_finished": 0, "differences": 0}
    steps = list(seconds)
    turn = 0
    while counts["kills"] < kills:
        out = work / f"out{counts['runs_finished']}"
        for _ in range(min(len(steps), kills - counts["kills"])):
            step = steps[turn % len(steps)]
            turn += 1
            killed_in = _killed_in(step, rng.uniform(0, seconds[step]), images, out, search)
            if killed_in is None:
                break
            counts["kills"] += 1
            counts[_name(killed_in)] += 1
            if counts["kills"] % 2 == 0 and "scheduler" not in search:
                lose_power(out, _told(out), rng)
                counts["lost"] += 1
        _killed_in("", None, images, out, search)
        counts["runs_finished"] += 1
        counts["differences"] += _tables(out) != _tables(work / "undisturbed")
        shutil.rmtree(out)
        shutil.rmtree(_told(out))
    return counts


def lose_power(out: Path, told: Path, rng: np.random.Generator) -> int:
    """Leave of every file below ``out`` what a power cut may: what was synced, and of the rest a part, or
    zeros in its place; how many files were changed.

    ``told`` is the folder in which the run told how much of each file was synced.
    """
    known = told / "synced"
    synced = json.loads(known.read_text()) if known.exists() else {}
    changed = 0
    for path in sorted(out.rglob("*")):
        if not path.is_file() or path.name == "lock":
            continue
        safe, size = min(synced.get(str(path.resolve()), 0), path.stat().st_size), path.stat().st_size
        if safe == size:
            continue
        kept = int(rng.integers(safe, size))
        with open(path, "r+b") as file:
            file.truncate(kept)
            if rng.random() < 0.5:  # the size was on the disk, the content was not
                file.truncate(size)
        changed += 1
    return changed


def _name(step: str) -> str:
    return f"kills_{step.replace(' ', '_')}"


def _told(out: Path) -> Path:
    """The folder in which a run tells of itself."""
    return out.with_name(f"{out.name}-told")


def _killed_in(
    step: str, seconds: float | None, images: Path, out: Path, search: Mapping[str, Any]
) -> str | None:
    """Start a run and kill it some time after a step began: the step that it was in by then; None if it
    ended before, or with ``seconds`` None."""
    told = _told(out)
    told.mkdir(exist_ok=True)
    now = told / "step"
    now.write_text("start")
    command = [sys.executable, "-c", RUN, images, out.resolve(), told, json.dumps(search)]
    environment = {**os.environ, "TMPDIR": os.fspath(told)}  # what a kill leaves there goes with the folder
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environment)
    while seconds is not None and process.poll() is None and now.read_text() != step:
        time.sleep(POLL_SECONDS)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return now.read_text() or step
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return None


def _tables(out: Path) -> dict[str, bytes]:
    """Every CSV by its name, hidden ones too: a file left half-written is a difference."""
    return {path.name: path.read_bytes() for path in out.glob("*.csv")}
