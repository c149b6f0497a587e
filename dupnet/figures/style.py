"""The one visual style of all figures, and the one way to save them."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from cycler import cycler
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from dupnet.files.atomic import atomic_path, write_csv

__all__ = ["COLOURS", "PALETTE", "SavedFigure", "new_figure", "require_columns", "save", "style"]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
"""Okabe and Ito's eight colours, which readers with any common colour blindness tell apart
(https://jfly.uni-koeln.de/color/), darkest contrasts first, yellow last."""

COLOURS = {
    "duplicate": PALETTE[0],
    "not_duplicate": PALETTE[1],
    "undecidable": "#8C8C8C",
    "accent": PALETTE[2],
    "ink": "#222222",
    "faint": "#D9D9D9",
}
"""What each colour means, the same in every figure, the report and the review page."""

WIDTH_INCHES = 6.4
"""Width of a full figure; at half of it the smallest type (9.5 points) still prints at nearly 5."""

MAX_BYTES = 300_000
"""Largest PNG that :func:`save` writes, so that the repository and the documents stay light."""

_DPI_STEPS = ((150, False), (150, True), (110, True), (85, True), (60, True))
"""Resolution and reduction to 256 colours, tried in this order until a figure fits into ``MAX_BYTES``."""

_SETTINGS: Any = {
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 10.5,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": COLOURS["ink"],
    "axes.labelcolor": COLOURS["ink"],
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["ink"],
    "ytick.color": COLOURS["ink"],
    "axes.grid": False,
    "grid.color": COLOURS["faint"],
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "image.interpolation": "nearest",
    "axes.prop_cycle": cycler(color=list(PALETTE)),
}


@contextmanager
def style() -> Iterator[None]:
    """The project's settings for a block: ``with style():`` around whatever creates axes or text."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def new_figure(height: float = 3.6, width: float = WIDTH_INCHES) -> Figure:
    """An empty figure of ``width`` x ``height`` inches with the project's layout, unknown to pyplot."""
    with style():
        figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@dataclass(frozen=True)
class SavedFigure:
    """Where :func:`save` put a figure; as the last line of a notebook cell it displays the file itself."""

    path: Path
    table_path: Path | None

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        # Only the name: a path of the machine that ran a notebook does not belong into its outputs.
        return f"<figure {self.path.name}>"

    def _repr_png_(self) -> bytes:
        return self.path.read_bytes()


def save(
    figure: Figure,
    name: str,
    table: pd.DataFrame | None = None,
    folder: str | os.PathLike[str] | None = None,
    *,
    max_bytes: int = MAX_BYTES,
) -> SavedFigure:
    """Write ``figures/<name>.png`` and, with a table, ``results/<name>.csv``: equal input, equal bytes.

    Parameters
    ----------
    figure
        Any figure; its text was laid out under :func:`style` if a function of this package drew it.
    name
        Lower case letters, digits and underscores: the stable name by which documents refer to the figure.
    table
        The numbers behind the figure, written with six significant digits, so that another machine's rounding
        in the last place changes no file.
    folder
        Where ``figures/`` and ``results/`` lie. Without it: ``notebooks/`` of the repository around the
        working directory, or else the working directory.
    max_bytes
        Size that the PNG may have; its resolution and colours are reduced until it fits. A notebook that
        shows several galleries asks for less than the 300 kB that any figure may have.

    Raises
    ------
    ValueError
        If ``name`` holds other characters, or the figure cannot be brought under ``max_bytes``.
    """
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError(f"name is {name!r}; use lower case letters, digits and underscores only.")
    base = Path(folder) if folder is not None else _notebooks_folder(Path.cwd())
    path = base / "figures" / f"{name}.png"
    with atomic_path(path) as beside:
        beside.write_bytes(_png(figure, name, max_bytes))
    if table is None:
        return SavedFigure(path, None)
    table_path = base / "results" / f"{name}.csv"
    write_csv(_six_digits(table), table_path)
    return SavedFigure(path, table_path)


def _notebooks_folder(start: Path) -> Path:
    for folder in (start, *start.parents):
        if folder.name == "notebooks":
            return folder
        if (folder / "notebooks").is_dir():
            return folder / "notebooks"
    return start


def _png(figure: Figure, name: str, max_bytes: int) -> bytes:
    for dpi, reduce_colours in _DPI_STEPS:
        buffer = io.BytesIO()
        with style():
            # Matplotlib would write its own version into the file, which then changes with every release.
            figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
        if reduce_colours:
            image = Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE)
            buffer = io.BytesIO()
            image.save(buffer, format="png", optimize=True)
        if buffer.getbuffer().nbytes <= max_bytes:
            return buffer.getvalue()
    raise ValueError(
        f"Figure {name!r} stays above {max_bytes} bytes at {_DPI_STEPS[-1][0]} dpi; show fewer images in it."
    )


def _six_digits(table: pd.DataFrame) -> pd.DataFrame:
    rounded = table.copy()
    for column in rounded.select_dtypes("floating").columns:
        rounded[column] = [float(f"{value:.6g}") for value in rounded[column]]
    return rounded


def require_columns(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise a ValueError that names the columns which ``table`` lacks, if there are any."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(
            f"table lacks the column(s) {', '.join(missing)}; it has {', '.join(map(str, table.columns))}."
        )
