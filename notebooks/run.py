"""Run notebooks top to bottom and save them as a reader should find them.

``python notebooks/run.py`` runs all of them in the order of the course and prints each one's time, which
``--times`` also writes for ``notebooks/README.md``;
``python notebooks/run.py eda/tile_overlap --set IMAGES=/my/images --output output/mine`` runs one with other
images in a workspace of its own, ``output/mine``, so that the committed notebooks and figures stay.

Each notebook runs in a fresh kernel whose working directory is the notebook's own folder, as in Jupyter.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from tqdm import tqdm

FOLDER = Path(__file__).resolve().parent

ORDER = (
    "eda/tile_overlap",
    "eda/jpeg_compression",
    "eda/image_hashes",
    "eda/image_histograms",
    "eda/texture_correlation",
    "eda/hls_shift",
    "eda/solid_tiles",
    "build_dataset",
    "hard_pairs",
    "train_dupnet",
    "decision_tree",
    "find_duplicates",
    "any_offset",
    "audit_a_split",
    "leak_free_split",
    "error_gallery",
    "use_your_own_images",
)
"""The course: what overlaps, what each signal can tell, then data, network, evaluation and use."""

CELL_TIMEOUT = 900
"""Seconds after which a cell counts as hung; the longest, training on the sample, takes a fraction of it."""

Notebook = nbformat.NotebookNode


def order(folder: Path = FOLDER) -> list[str]:
    """The notebooks under ``folder``, in the order of the course; one that ORDER lacks comes last."""
    found = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("**/*.ipynb")}
    found = {name for name in found if ".ipynb_checkpoints" not in name}
    return [name for name in ORDER if name in found] + sorted(found - set(ORDER))


def inject(notebook: Notebook, parameters: dict[str, Any]) -> None:
    """Add a cell that sets ``parameters`` right after the one tagged "parameters", as papermill does.

    Raises
    ------
    ValueError
        If no cell has the tag, or the tagged cell does not set one of the names.
    """
    tagged = [
        place for place, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])
    ]
    if not tagged:
        raise ValueError('No cell is tagged "parameters"; tag the one that sets SEED and IMAGES.')
    place = tagged[0]
    known = {
        target.id
        for statement in ast.parse(notebook.cells[place].source).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    for name in parameters:
        if name not in known:
            raise ValueError(f"The parameters cell sets {', '.join(sorted(known))}; it has no {name}.")
    source = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    tag = "injected-parameters"
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(source, id=tag, metadata={"tags": [tag]}))


def workspace(folder: Path, sample: Path | None = None) -> Path:
    """Make ``folder`` look like the repository to a notebook; returns its ``notebooks``, where figures land.

    ``folder/data`` links to what the repository's ``data`` holds, except ``processed`` (made anew) and, when
    given, ``sample``.
    """
    notebooks, data = folder / "notebooks", folder / "data"
    for path in (notebooks, data):
        path.mkdir(parents=True, exist_ok=True)
    for source in (FOLDER.parent / "data").iterdir():
        link = data / source.name
        if source.name == "sample" and sample is not None:
            source = sample.resolve()
        if source.name != "processed" and not link.exists():
            link.symlink_to(source, target_is_directory=source.is_dir())
    return notebooks


def execute(path: Path, parameters: dict[str, Any] | None = None, cwd: Path | None = None) -> Notebook:
    """Run a notebook in a fresh kernel and return it with its outputs; the file is not changed.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        At the first cell that fails.
    RuntimeError
        If the kernel does not start, or dies.
    """
    notebook = nbformat.read(path, as_version=4)
    if parameters:
        inject(notebook, parameters)
    name = path.relative_to(FOLDER).as_posix() if path.is_relative_to(FOLDER) else path.name
    with TemporaryDirectory() as aside, open(f"{aside}/kernel.log", "w+", encoding="utf-8") as log:
        # Over TCP, other users of the machine could read what the kernel says.
        local = {"transport": "ipc", "ip": f"{aside}/kernel"} if os.name == "posix" else {}
        client = NotebookClient(
            notebook,
            timeout=CELL_TIMEOUT,
            km=AsyncKernelManager(kernel_name="python3", **local),
            resources={"metadata": {"path": str(cwd or path.parent)}},
            coalesce_streams=True,
        )
        try:
            # What a cell prints comes by message; the kernel's own standard error has its last words alone.
            with (
                client.setup_kernel(cleanup_kc=True, stderr=log),
                tqdm(
                    notebook.cells, desc=name, unit="cell", leave=False, disable=not sys.stderr.isatty()
                ) as cells,
            ):
                for index, cell in enumerate(cells):
                    client.execute_cell(cell, index)
                client.set_widgets_metadata()
        except RuntimeError as error:  # the kernel did not start, or died
            log.seek(0)
            raise RuntimeError(f"{name}: {error}\n{log.read()}") from None
    return tidy(notebook)


def tidy(notebook: Notebook) -> Notebook:
    """Keep what a reader needs and drop what changes from run to run: times, versions, progress bars."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            for kind in ("text/plain", "text/html"):
                if isinstance(output.get("data", {}).get(kind), str):
                    output.data[kind] = _without_addresses(output.data[kind])
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def save(notebook: Notebook, path: Path) -> None:
    """Write beside and rename, so that a stopped run leaves no half notebook."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".partial-{path.name}")
    nbformat.write(notebook, beside)
    os.replace(beside, path)


def write_times(seconds: dict[str, int], path: Path) -> None:
    """Write ``notebook,seconds``, in the order of the course, and their sum as ``all``.

    A notebook that was not run this time keeps the time that the file has for it.
    """
    known = dict(seconds)
    if path.exists():
        rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
        known = {name: int(number) for name, number in rows if name in ORDER} | known
    times = {name: known[name] for name in (*ORDER, *sorted(set(known) - set(ORDER))) if name in known}
    times["all"] = sum(times.values())
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["notebook,seconds", *(f"{name},{number}" for name, number in times.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the notebooks that were named, or all; exit status 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="such as eda/tile_overlap; all in order when none is named")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a parameter (Python literal or text)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="workspace for the run (default: in place, or output/workspace with --set)",
    )
    parser.add_argument(
        "--times", action="store_true", help="write results/run_times.csv, which notebooks/README.md shows"
    )
    options = parser.parse_args(arguments)
    folder, seconds = FOLDER, {}
    if options.output or options.set:
        folder = workspace(options.output or FOLDER.parent / "output" / "workspace")
    parameters = dict(_assignment(text) for text in options.set)
    names = [re.sub(r"^notebooks/|\.ipynb$", "", name) for name in options.names] or order()
    started = time.perf_counter()
    for number, name in enumerate(names, 1):
        print(f"[{number:2d}/{len(names)}] {name:<28}", end="", flush=True)
        clock = time.perf_counter()
        try:
            target = folder / f"{name}.ipynb"
            target.parent.mkdir(parents=True, exist_ok=True)
            notebook = execute(FOLDER / f"{name}.ipynb", parameters, cwd=target.parent)
        except CellExecutionError as error:
            print(f"failed after {time.perf_counter() - clock:.1f} s\n{error}")
            return 1
        save(notebook, target)
        seconds[name] = round(time.perf_counter() - clock)
        print(f"{seconds[name]:5d} s", flush=True)
    if options.times:
        write_times(seconds, folder / "results" / "run_times.csv")
    print(f"{len(names)} notebooks in {time.perf_counter() - started:.0f} s, saved in {folder}")
    return 0


def _assignment(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign or not name.isidentifier():
        raise SystemExit(f"--set {text}: expected NAME=VALUE.")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        # A path that means something here would mean something else in the notebook's folder.
        return name, str(Path(value).resolve()) if Path(value).exists() else value


def _without_addresses(text: str) -> str:
    return re.sub(r" at 0x[0-9a-f]{8,}", "", text)


if __name__ == "__main__":
    sys.exit(main())
