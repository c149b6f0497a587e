"""Figures of structure: the overlap patterns, a decision tree, a network."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from dupnet.figures.style import COLOURS, PALETTE, new_figure, style
from dupnet.tiles import Grid, Overlap, overlaps

__all__ = ["cascade", "decision_tree", "network", "overlap_key"]

_BRANCHES = (("first stage", "first_stage_"), ("member 1", "member_1_"))
"""The columns of :func:`cascade` and how the names of their layers begin."""


def overlap_key(grid: Grid = Grid()) -> Figure:
    """The key to all overlaps of a grid: one panel an offset, tag and shared tiles as seen from image 1.

    For the 3 x 3 grid 5 x 5 panels; image 2's offset grows to the right and downwards, as in the images.
    """
    n_rows, n_cols = 2 * grid.rows - 1, 2 * grid.cols - 1
    with style():
        figure = new_figure(height=6.4 * n_rows / n_cols + 0.5)
        axes = figure.subplots(n_rows, n_cols, squeeze=False)
        for overlap in overlaps(grid):
            panel = axes[overlap.row_offset + grid.rows - 1, overlap.col_offset + grid.cols - 1]
            _draw_overlap(panel, overlap, grid)
        figure.suptitle("Tiles of image 1 (solid) that image 2 (dashed) shares", fontsize=11)
    return figure


def _draw_overlap(axes: Axes, overlap: Overlap, grid: Grid) -> None:
    for index in overlap.tiles1:
        row, col = divmod(index, grid.cols)
        axes.add_patch(Rectangle((col, row), 1, 1, facecolor=PALETTE[5], edgecolor="white", linewidth=1))
        if grid.n_tiles <= 9:
            axes.text(col + 0.5, row + 0.54, str(index), ha="center", va="center", fontsize=9.5)
    image1 = Rectangle((0, 0), grid.cols, grid.rows, fill=False, edgecolor=COLOURS["ink"], linewidth=1.4)
    image2 = Rectangle(
        (overlap.col_offset, overlap.row_offset),
        grid.cols,
        grid.rows,
        fill=False,
        edgecolor=COLOURS["not_duplicate"],
        linewidth=1.4,
        linestyle=(0, (3, 1.6)),
    )
    axes.add_patch(image1)
    axes.add_patch(image2)
    # Both images together, in the middle of a panel that would hold the widest pair: one scale for all.
    middle_x, middle_y = (grid.cols + overlap.col_offset) / 2, (grid.rows + overlap.row_offset) / 2
    half_x, half_y = grid.cols - 0.35, grid.rows - 0.35
    axes.set_xlim(middle_x - half_x, middle_x + half_x)
    axes.set_ylim(middle_y + half_y, middle_y - half_y)
    axes.set_aspect("equal")
    axes.axis("off")
    offset = f"{overlap.row_offset:+d}, {overlap.col_offset:+d}"
    axes.set_title(f"{overlap.tag}  ({offset})".replace("+0", "0"), loc="center", fontsize=10, pad=2)


def decision_tree(tree: Any, feature_names: list[str], class_names: list[str] | None = None) -> Figure:
    """A fitted :class:`sklearn.tree.DecisionTreeClassifier` of two classes, with the counts of each node.

    Parameters
    ----------
    tree
        The fitted classifier.
    feature_names
        One name a feature, in the order in which the tree was fitted.
    class_names
        Names of class 0 and class 1; "not duplicate" and "duplicate" if not given.
    """
    names = class_names or ["not duplicate", "duplicate"]
    fitted = tree.tree_
    depth = int(fitted.max_depth)
    places: dict[int, tuple[float, int]] = {}
    n_leaves = _place_nodes(fitted, 0, 0, 0, places)
    with style():
        figure = new_figure(height=1.25 * (depth + 1) + 0.2, width=max(6.4, 2.3 * n_leaves))
        axes = figure.subplots()
        for node, (x, level) in places.items():
            for side, child in (("yes", fitted.children_left[node]), ("no", fitted.children_right[node])):
                if child >= 0:
                    x_child, level_child = places[int(child)]
                    # From centre to centre: the boxes, drawn later, cover both ends.
                    axes.plot([x, x_child], [level, level_child], color=COLOURS["ink"], linewidth=1, zorder=1)
                    axes.text(
                        (x + x_child) / 2,
                        (level + level_child) / 2,
                        side,
                        ha="center",
                        va="center",
                        backgroundcolor="white",
                        fontsize=9.5,
                        zorder=2,
                    )
            # scikit-learn keeps each node's class shares; counts are those times the node's samples.
            shares = fitted.value[node][0] / fitted.value[node][0].sum()
            counts = (shares * fitted.n_node_samples[node]).round().astype(int)
            lines = [f"{count:,} {name}" for name, count in zip(names, counts, strict=True)]
            if fitted.children_left[node] >= 0:
                lines.insert(0, f"{feature_names[fitted.feature[node]]} ≤ {fitted.threshold[node]:.3g}?")
            colour = COLOURS["duplicate"] if counts[1] >= counts[0] else COLOURS["not_duplicate"]
            axes.text(
                x,
                level,
                "\n".join(lines),
                ha="center",
                va="center",
                fontsize=10,
                bbox={
                    "boxstyle": "round,pad=0.45",
                    "facecolor": "white",
                    "edgecolor": colour,
                    "linewidth": 1.8,
                },
            )
        axes.set_xlim(-0.6, max(n_leaves - 0.4, 0.6))
        axes.set_ylim(depth + 0.5, -0.5)
        axes.axis("off")
    return figure


def _place_nodes(
    fitted: Any, node: int, level: int, next_leaf: int, places: dict[int, tuple[float, int]]
) -> int:
    """Give every node below ``node`` a place (x in leaves, level); returns the next free leaf position."""
    left, right = int(fitted.children_left[node]), int(fitted.children_right[node])
    if left < 0:
        places[node] = (float(next_leaf), level)
        return next_leaf + 1
    next_leaf = _place_nodes(fitted, left, level + 1, next_leaf, places)
    next_leaf = _place_nodes(fitted, right, level + 1, next_leaf, places)
    places[node] = ((places[left][0] + places[right][0]) / 2, level)
    return next_leaf


def network(layers: pd.DataFrame, title: str = "") -> Figure:
    """A network as a column of blocks from input to output.

    Parameters
    ----------
    layers
        One row a block: ``layer`` (what it does, in words), ``output_shape`` (text, ``128 x 128 x 16``) and
        ``parameters`` (count). An arrow leads to a block from the one above where ``follows`` is true;
        without that column, to all but inputs, whose ``layer`` ends in "RGB tile".
    title
        The network's name.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    missing = [name for name in ("layer", "output_shape", "parameters") if name not in layers.columns]
    if missing:
        raise ValueError(f"layers lacks the column(s) {', '.join(missing)}.")
    with style():
        figure = new_figure(height=0.46 * (len(layers) + 1) + 0.3)
        axes = figure.subplots()
        is_input = layers["layer"].str.endswith("RGB tile")
        follows = layers.get("follows", ~is_input).to_numpy(bool)
        for level, row in enumerate(layers.itertuples(index=False)):
            learned = int(str(row.parameters)) > 0
            axes.add_patch(
                FancyBboxPatch(
                    (0.05, level + 0.14),
                    5.5,
                    0.72,
                    boxstyle="round,pad=0.02,rounding_size=0.12",
                    facecolor="#DCEBF5" if learned else "#F2F2F2",
                    edgecolor=COLOURS["duplicate"] if learned else COLOURS["undecidable"],
                    linewidth=1.2,
                )
            )
            axes.text(0.22, level + 0.52, str(row.layer), ha="left", va="center")
            axes.text(7.6, level + 0.52, str(row.output_shape), ha="right", va="center")
            axes.text(
                9.6,
                level + 0.52,
                f"{int(str(row.parameters)):,}" if learned else "–",
                ha="right",
                va="center",
            )
            if level and follows[level]:
                axes.annotate(
                    "",
                    (2.8, level + 0.13),
                    (2.8, level - 0.13),
                    arrowprops={"arrowstyle": "->", "linewidth": 1},
                )
        total = sum(int(str(count)) for count in layers["parameters"])
        for x, text in ((0.22, "layer"), (7.6, "output"), (9.6, f"parameters\n({total:,})")):
            axes.text(x, -0.35, text, ha="left" if x < 1 else "right", va="center", fontweight="bold")
        axes.set_xlim(0, 9.7)
        axes.set_ylim(len(layers) + 0.05, -0.9)
        axes.set_title(title)
        axes.axis("off")
    return figure


def cascade(layers: pd.DataFrame) -> Figure:
    """The network ``dupnet`` as it branches: two tiles, one encoder, two comparisons, two stages.

    Parameters
    ----------
    layers
        What :func:`dupnet.network.layer_table` gives of it: ``layer`` ("name: what it does"),
        ``output_shape`` and ``parameters``, the layers of the first stage, of ``member_1`` and one row for
        each further member.

    Raises
    ------
    ValueError
        If a part of the network is missing.
    """
    named = layers.assign(name=layers["layer"].str.partition(":")[0])
    by_name = named.set_index("name")
    wanted = ["tile1", "tile2", "projection", "cell_features", "tile_features", "score"]
    branches = {title: named[named["name"].str.startswith(start)] for title, start in _BRANCHES}
    missing = [name for name in wanted if name not in by_name.index]
    missing += [title for title, rows in branches.items() if rows.empty]
    if missing:
        raise ValueError(f"layers lacks {', '.join(missing)}; draw another network with `network`.")
    others = named[named["name"].str.fullmatch(r"member_\d+")]
    longest = max(len(rows) for rows in branches.values())
    top = 3.9
    bottom = top + 0.85 + 0.68 * longest
    height = bottom + 1.9
    with style():
        figure = new_figure(height=0.36 * height)
        axes = figure.subplots()
        axes.set_xlim(0, 10)
        axes.set_ylim(height, 0)
        axes.axis("off")
        shape = by_name["output_shape"]
        for x, name in ((1.1, "tile1"), (6.1, "tile2")):
            _block(axes, (x, 0.1, 2.8, 0.75), f"{name[:-1]} {name[-1]}: {shape[name]}", 0)
            _arrow(axes, (x + 1.4, 0.85), (5 + 0.14 * (x - 3.6), 1.35))
        filters = str(by_name["layer"]["projection"]).partition(": ")[2]
        text = f"one encoder, {filters}: {shape['projection']}"
        _block(axes, (2.2, 1.35, 5.6, 0.75), text, int(by_name["parameters"]["projection"]))
        _block(axes, (0.1, 2.6, 4.75, 0.75), f"compare cell by cell: {shape['cell_features']}", 0)
        _block(axes, (5.15, 2.6, 4.75, 0.75), f"compare as wholes: {shape['tile_features']}", 0)
        for x in (2.475, 7.525):
            _arrow(axes, (5 + 0.3 * (x - 5), 2.1), (x, 2.6))
        for (title, rows), x in zip(branches.items(), (0.1, 5.15), strict=True):
            total = int(rows["parameters"].sum())
            copies = [int(count) for count in others["parameters"]] if x > 1 else []
            for behind in range(len(copies), 0, -1):
                _frame(axes, (x + 0.1 * behind, top + 0.13 * behind, 4.5, bottom - top))
            _frame(axes, (x, top, 4.5 if x > 1 else 4.75, bottom - top))
            heading = f"{title}: {total:,} parameters"
            if copies:
                heading = f"ensemble of {1 + len(copies)}: {total + sum(copies):,} parameters"
            axes.text(x + 0.15, top + 0.42, heading, va="center", fontweight="bold", fontsize=9.5)
            _list_layers(axes, rows, x, top + 1.1)
            _arrow(axes, (2.475, 3.35), (x + 2.3, top))
            _arrow(axes, (7.525, 3.35), (x + 2.5, top))
            _arrow(axes, (x + 2.3, bottom + 0.13 * len(copies)), (5 + 0.2 * (x - 2.6), height - 0.8))
        total = sum(int(count) for count in layers["parameters"])
        text = "score: the first stage's; in its deferral band, the ensemble's mean"
        _block(axes, (0.9, height - 0.8, 8.2, 0.75), text, 0)
        axes.set_title(f"dupnet: {total:,} parameters")
    return figure


def _list_layers(axes: Axes, rows: pd.DataFrame, x: float, top: float) -> None:
    for line, row in enumerate(rows.to_dict("records")):
        what = str(row["layer"]).partition(": ")[2]
        y = top + 0.68 * line
        learned = int(row["parameters"]) > 0
        colour = COLOURS["duplicate" if learned else "ink"]
        axes.text(x + 0.15, y, what, va="center", fontsize=9, color=colour)
        axes.text(x + 4.4, y, str(row["output_shape"]), va="center", ha="right", fontsize=9, color=colour)


def _frame(axes: Axes, box: tuple[float, float, float, float]) -> None:
    _rounded(axes, box, "white", COLOURS["undecidable"])


def _block(axes: Axes, box: tuple[float, float, float, float], text: str, parameters: int) -> None:
    face, edge = ("#DCEBF5", COLOURS["duplicate"]) if parameters else ("#F2F2F2", COLOURS["undecidable"])
    _rounded(axes, box, face, edge)
    x, y, width, height = box
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=9.5)


def _rounded(axes: Axes, box: tuple[float, float, float, float], face: str, edge: str) -> None:
    x, y, width, height = box
    axes.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=face,
            edgecolor=edge,
            linewidth=1.2,
        )
    )


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "linewidth": 1, "shrinkA": 0, "shrinkB": 0})
