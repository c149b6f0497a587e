"""Figures of images: pairs with their overlap outlined, tiles, mosaics, galleries of errors."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from dupnet.figures.style import COLOURS, PALETTE, WIDTH_INCHES, new_figure, style
from dupnet.tiles import Grid, Overlap

__all__ = ["error_gallery", "rebuilt", "show_pair", "show_pairs", "show_tiles"]

Image = npt.NDArray[np.uint8]

OUTLINE = PALETTE[4]
"""Orange: seen on sea, land and cloud alike."""


def show_tiles(tiles: Sequence[Image], titles: Sequence[str] | None = None, columns: int = 4) -> Figure:
    """Tiles or whole images side by side, row by row.

    Parameters
    ----------
    tiles
        RGB uint8 (h, w, 3) or grey uint8 (h, w) arrays.
    titles
        A short title for each, broken into lines of the width of an image.
    columns
        Images in a row.

    Raises
    ------
    ValueError
        If there is no tile, or not one title a tile.
    """
    if not len(tiles) or (titles is not None and len(titles) != len(tiles)):
        raise ValueError(
            f"tiles has {len(tiles)} and titles {len(titles or [])} entries; give at least one tile, and as "
            "many titles as tiles or none."
        )
    columns = min(columns, len(tiles))
    n_rows = -(-len(tiles) // columns)
    letters = int(12.5 * WIDTH_INCHES / columns)  # of ten points each
    wrapped = ["\n".join(textwrap.fill(line, letters) for line in text.split("\n")) for text in titles or []]
    n_lines = max((text.count("\n") + 1 for text in wrapped), default=0)
    with style():
        figure = new_figure(height=n_rows * (WIDTH_INCHES / columns + 0.06 + 0.18 * n_lines))
        panels = figure.subplots(n_rows, columns, squeeze=False).ravel()
        for index, panel in enumerate(panels):
            if index >= len(tiles):
                panel.axis("off")
            else:
                _draw_image(panel, tiles[index])
                _frame(panel)
                if wrapped:
                    panel.set_title(wrapped[index], fontsize=10, loc="center", pad=3)
    return figure


def show_pairs(pairs: Sequence[tuple[Image, Image]], titles: Sequence[str], columns: int = 3) -> Figure:
    """Pairs of tiles, the two of a pair side by side under one title, apart from the next pair.

    Parameters
    ----------
    pairs
        RGB uint8 (h, w, 3) or grey uint8 (h, w) arrays.
    titles
        A short title for each pair.
    columns
        Pairs in a row.

    Raises
    ------
    ValueError
        If there is no pair, or not one title a pair.
    """
    if not pairs or len(titles) != len(pairs):
        raise ValueError(f"pairs has {len(pairs)} and titles {len(titles)} entries; give one title a pair.")
    columns = min(columns, len(pairs))
    n_rows = -(-len(pairs) // columns)
    tallest = max(tile.shape[0] / tile.shape[1] for pair in pairs for tile in pair)
    with style():
        figure = new_figure(height=n_rows * (WIDTH_INCHES / columns / 2 * tallest + 0.3))
        parts = figure.subfigures(n_rows, columns, squeeze=False, wspace=0.05).ravel()
        for part, pair, title in zip(parts, pairs, titles, strict=False):
            part.suptitle(textwrap.fill(title, int(12.5 * WIDTH_INCHES / columns)), fontsize=10)
            for panel, tile in zip(part.subplots(1, 2), pair, strict=True):
                _draw_image(panel, tile)
                _frame(panel)
    return figure


def show_pair(
    image1: Image,
    image2: Image,
    overlap: Overlap | None = None,
    titles: tuple[str, str] = ("image 1", "image 2"),
    grid: Grid = Grid(),
) -> Figure:
    """Two images of one grid side by side, tiles numbered, their overlap outlined.

    Parameters
    ----------
    image1, image2
        RGB uint8 (h, w, 3).
    overlap
        The tiles they share. Without it: the bare images.
    titles
        A line above each image.
    grid
        The tiles of one image; its tile size does not matter, so that reduced images can be shown.
    """
    with style():
        figure = new_figure(height=3.6 * image1.shape[0] / image1.shape[1])
        for axes, image, title, number in zip(
            figure.subplots(1, 2), (image1, image2), titles, (1, 2), strict=True
        ):
            _draw_image(axes, image)
            axes.axis("off")
            axes.set_title(title, fontsize=10.5, loc="center", pad=4)
            if overlap is not None:
                _outline(
                    axes, overlap.tiles1 if number == 1 else overlap.tiles2, grid, image.shape[1] / grid.cols
                )
    return figure


def rebuilt(
    files: Sequence[tuple[str, Image]], mosaic: Image, boxes: Sequence[tuple[float, float, float, float]]
) -> Figure:
    """Files on the left as they came, on the right the acquisition that they were cut from, each outlined in
    the colour of its frame.

    Parameters
    ----------
    files
        Name, of which the stem is shown, and pixels, RGB uint8 (h, w, 3), of each.
    mosaic
        RGB uint8 (h, w, 3), at full or reduced scale.
    boxes
        Where each file lies in the mosaic, in the mosaic's own pixels: y, x, height, width.

    Raises
    ------
    ValueError
        If there is no file, or not one box a file.
    """
    if not files or len(files) != len(boxes):
        raise ValueError(f"files has {len(files)} and boxes {len(boxes)} entries; give one box a file.")
    columns = 2 if len(files) <= 4 else 3
    n_rows = -(-len(files) // columns)
    side = WIDTH_INCHES * 0.43 / columns
    with style():
        figure = new_figure(height=float(np.clip(n_rows * (side + 0.22) + 0.5, 3.2, 8.0)))
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[0.45, 0.55])[0]
        left.suptitle(f"{len(files)} files of a folder", fontsize=11)
        right.suptitle("what they were cut from", fontsize=11)
        panels = left.subplots(n_rows, columns, squeeze=False).ravel()
        whole = right.subplots()
        _draw_image(whole, mosaic)
        whole.axis("off")
        whole.set_anchor("N")
        for number, panel in enumerate(panels):
            if number >= len(files):
                panel.axis("off")
                continue
            colour = PALETTE[number % len(PALETTE)]
            name, pixels = files[number]
            _draw_image(panel, pixels)
            _frame(panel)
            panel.spines[:].set(visible=True, color=colour, linewidth=2.6)
            panel.set_title(PurePath(name).stem, fontsize=9.5, loc="center", pad=3)
            y, x, height, width = boxes[number]
            # A little apart, or the edges of images a tile apart would hide each other.
            inset = (0.5 + number) / len(files) * 0.018 * max(mosaic.shape[:2])
            whole.add_patch(
                Rectangle(
                    (x - 0.5 + inset, y - 0.5 + inset),
                    width - 2 * inset,
                    height - 2 * inset,
                    fill=False,
                    edgecolor=colour,
                    linewidth=2,
                )
            )
    return figure


def error_gallery(pairs: Sequence[tuple[Image, Image, str]], differences: Sequence[Image]) -> Figure:
    """Pairs of tiles, one a row: tile 1, tile 2, their difference, and in words what was found.

    Parameters
    ----------
    pairs
        Tile 1 and tile 2, RGB uint8 (h, w, 3), and a caption of a few short lines.
    differences
        One map a pair, RGB or grey uint8, as :func:`dupnet.report.previews.difference_map` makes it.

    Raises
    ------
    ValueError
        If there is no pair, or not one difference a pair.
    """
    if not len(pairs) or len(pairs) != len(differences):
        raise ValueError(
            f"pairs has {len(pairs)} and differences {len(differences)} entries; give at least one of both, "
            "and as many of either."
        )
    with style():
        figure = new_figure(height=1.5 * len(pairs) + 0.3, width=5.9)
        panels = figure.subplots(len(pairs), 4, squeeze=False, width_ratios=[1, 1, 1, 0.9])
        for row, ((tile1, tile2, caption), difference) in enumerate(zip(pairs, differences, strict=True)):
            for axes, image, title in zip(
                panels[row], (tile1, tile2, difference), ("tile 1", "tile 2", "difference"), strict=False
            ):
                _draw_image(axes, image)
                axes.axis("off")
                if row == 0:
                    axes.set_title(title, loc="center", fontsize=10.5)
            panels[row, 3].axis("off")
            panels[row, 3].text(0, 0.5, caption, ha="left", va="center", fontsize=9.5)
    return figure


def _frame(axes: Axes) -> None:
    """A thin line round the image, without which a white tile would not be seen on the page."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color=COLOURS["undecidable"], linewidth=0.6)


def _draw_image(axes: Axes, image: Image) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)


def _outline(axes: Axes, tiles: Sequence[int], grid: Grid, size: float) -> None:
    for step in range(1, grid.rows):
        axes.axhline(step * size - 0.5, color="white", linewidth=0.7, alpha=0.7)
    for step in range(1, grid.cols):
        axes.axvline(step * size - 0.5, color="white", linewidth=0.7, alpha=0.7)
    for index in range(grid.n_tiles):
        row, col = divmod(index, grid.cols)
        _label(
            axes,
            (col + 0.5) * size,
            (row + 0.5) * size,
            str(index),
            colour="white" if index in tiles else COLOURS["faint"],
        )
    (top, left), (bottom, right) = divmod(min(tiles), grid.cols), divmod(max(tiles), grid.cols)
    inset = size * 0.02
    axes.add_patch(
        Rectangle(
            (left * size - 0.5 + inset, top * size - 0.5 + inset),
            (right - left + 1) * size - 2 * inset,
            (bottom - top + 1) * size - 2 * inset,
            fill=False,
            edgecolor=OUTLINE,
            linewidth=2.6,
        )
    )


def _label(axes: Axes, x: float, y: float, text: str, colour: str = "white", ha: str = "center") -> None:
    drawn = axes.text(x, y, text, color=colour, ha=ha, va="center", fontsize=11)
    drawn.set_path_effects([withStroke(linewidth=2.2, foreground="black")])
