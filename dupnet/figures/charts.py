"""Figures of numbers: curves, intervals, tables, training, limits, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator, NullFormatter, PercentFormatter, StrMethodFormatter

from dupnet.figures.style import COLOURS, PALETTE, new_figure, require_columns, style

__all__ = ["heatmap", "hls_limits", "intervals", "lines", "scaling", "training_history"]

_MARKERS = "osD^vP*X"
"""One marker a series, so that a figure can be read without its colours."""

_DASHES = ("-", "--", "-.", ":")
"""One line style a series where there are too many points for markers."""

_MOST_MARKERS = 25
"""Points of a series from which on markers would hide the line."""

_LEGEND_LETTERS = 75
"""Letters of names and symbols that fit into one line above a figure."""


def training_history(history: pd.DataFrame) -> Figure:
    """Loss by epoch, training and validation; below it any other measure that has a ``val_`` twin.

    Parameters
    ----------
    history
        One row an epoch: ``epoch``, ``loss``, ``val_loss`` and other measures with a twin named ``val_...``,
        empty where nothing was validated.
    """
    require_columns(history, ["epoch", "loss", "val_loss"])
    measures = ["loss"] + [
        name[4:] for name in history if name.startswith("val_") and name != "val_loss" and name[4:] in history
    ]
    with style():
        figure = new_figure(height=1.9 * len(measures) + 0.6)
        panels = figure.subplots(len(measures), 1, sharex=True, squeeze=False)[:, 0]
        for axes, measure in zip(panels, measures, strict=True):
            axes.plot(history["epoch"], history[measure], label="training", marker="o", markersize=3)
            axes.plot(
                history["epoch"], history[f"val_{measure}"], label="validation", marker="s", markersize=3
            )
            axes.set_ylabel(measure.replace("_", " "))
            if measure == "loss" and history[["loss", "val_loss"]].min().min() > 0:
                axes.set_yscale("log")
        panels[0].legend()
        panels[-1].set_xlabel("epoch")
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def hls_limits(
    shares: pd.DataFrame, limits: Mapping[str, tuple[float, float]], level: float, by: str = "collection"
) -> Figure:
    """The share of tiles that still look the same against the shift of each HLS channel, the limits shaded.

    Parameters
    ----------
    shares
        Columns ``channel`` (``hue``, ``lightness``, ``saturation``), ``shift``, ``looks_the_same`` (0 to 1)
        and ``by``, one line for each value of it.
    limits
        Lowest and highest shift within which an image still reads as the same, by channel.
    level
        The share that sets the limits.
    by
        The column that tells the lines apart.
    """
    require_columns(shares, ["channel", "shift", "looks_the_same", by])
    units = {"hue": "hue (degrees)", "lightness": "lightness (%)", "saturation": "saturation (%)"}
    with style():
        figure = new_figure(height=3.3)
        panels = figure.subplots(1, len(limits), sharey=True, squeeze=False)[0]
        for axes, (channel, (low, high)) in zip(panels, limits.items(), strict=True):
            axes.axvspan(low, high, color=COLOURS["accent"], alpha=0.18, linewidth=0)
            axes.axhline(level, color=COLOURS["ink"], linestyle="--", linewidth=1)
            found = shares[shares["channel"] == channel]
            for number, (name, rows) in enumerate(found.groupby(by, sort=False)):
                ordered = rows.sort_values("shift")
                axes.plot(
                    ordered["shift"],
                    ordered["looks_the_same"],
                    marker=_MARKERS[number],
                    markersize=3.5,
                    label=str(name),
                )
            axes.set_xlabel(units.get(channel, channel))
            axes.set_title(f"{low:g} to {high:+g}", fontsize=10.5)
        panels[0].set_ylabel("tiles that look the same")
        panels[0].yaxis.set_major_formatter(PercentFormatter(1.0))
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def scaling(table: pd.DataFrame, x: str = "n_images", y: str = "seconds", by: str = "method") -> Figure:
    """Cost against size on logarithmic axes, one line a method, with its fitted exponent.

    Parameters
    ----------
    table
        One row a run; at least two sizes a method give an exponent.
    x, y, by
        Its columns: size, cost, and the method's name.
    """
    require_columns(table, [x, y, by])
    with style():
        figure = new_figure(height=3.8)
        axes = figure.subplots()
        for number, (name, rows) in enumerate(table.groupby(by, sort=False)):
            ordered = rows.sort_values(x)
            label = str(name)
            if ordered[x].nunique() > 1:
                exponent = np.polyfit(
                    np.log(ordered[x].to_numpy(float)), np.log(ordered[y].to_numpy(float)), 1
                )[0]
                label += f"  (N$^{{{exponent:.2f}}}$)"
            axes.plot(ordered[x], ordered[y], marker=_MARKERS[number % 8], markersize=5, label=label)
        label = x.removeprefix("n_").replace("_", " ")
        axes.set(xscale="log", yscale="log", xlabel=label, ylabel=y.replace("_", " "))
        sizes = sorted(table[x].unique())
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.xaxis.set_minor_formatter(NullFormatter())
        # Numbers as they are; powers of ten and single steps between them are hard to read.
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.3g}"))
        axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
        axes.grid(visible=True, which="major")
        axes.legend()
    return figure


def lines(
    table: pd.DataFrame, x: str, y: str, by: str, x_label: str = "", y_label: str = "", percent: bool = False
) -> Figure:
    """One line a series: column ``y`` against column ``x`` for each value of column ``by``.

    Parameters
    ----------
    table
        One row a point.
    x, y, by
        Its columns.
    x_label, y_label
        Axis labels; without them the columns' names.
    percent
        Show ``y``, a share in [0, 1], as per cent.
    """
    require_columns(table, [x, y, by])
    with style():
        figure = new_figure(height=3.6)
        axes = figure.subplots()
        for number, (name, rows) in enumerate(table.groupby(by, sort=False)):
            ordered = rows.sort_values(x)
            dense = len(ordered) > _MOST_MARKERS
            axes.plot(
                ordered[x],
                ordered[y],
                marker="" if dense else _MARKERS[number % 8],
                markersize=4.5,
                color=PALETTE[number % 8],
                linestyle=_DASHES[number % 4] if dense else "-" if number < 8 else "--",
                label=str(name),
            )
        axes.set(xlabel=x_label or x.replace("_", " "), ylabel=y_label or y.replace("_", " "))
        if percent:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            low, high = axes.get_ylim()
            axes.set_ylim(min(low, -0.03 * high), high)  # shares are compared from zero
        if table[x].max() >= 10_000:
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.grid(visible=True)
        if len(axes.lines) > 1:
            _legend_above(figure, axes)
    return figure


def _legend_above(figure: Figure, axes: Axes) -> None:
    """The names of the lines above the axes, which keep the full width; in as few lines as they fit."""
    names = [str(line.get_label()) for line in axes.lines]
    columns = len(names)
    while columns > 1 and columns * (max(map(len, names)) + 6) > _LEGEND_LETTERS:
        columns -= 1
    figure.legend(loc="outside upper center", ncols=columns)


def intervals(
    table: pd.DataFrame,
    name: str,
    value: str,
    low: str | None = None,
    high: str | None = None,
    x_label: str = "",
    log: bool = False,
    highlight: Sequence[str] = (),
) -> Figure:
    """One value a row with its interval, best read from top to bottom in the table's order.

    Parameters
    ----------
    table
        One row a value.
    name, value, low, high
        Its columns: label, value and, where there is an interval, its ends.
    x_label
        Axis label; without it the column's name.
    log
        Logarithmic axis; zeros are then drawn at its left end as open circles.
    highlight
        Names drawn in the accent colour.
    """
    require_columns(table, [column for column in (name, value, low, high) if column])
    values = table[value].to_numpy(float)
    floor = values[values > 0].min() / 3 if log and (values > 0).any() else 0.0
    with style():
        figure = new_figure(height=0.26 * len(table) + 0.9)
        axes = figure.subplots()
        for level, (_, row) in enumerate(table.iterrows()):
            end = max(float(row[high or value]), float(row[value]), floor)
            colour = COLOURS["accent"] if row[name] in highlight else COLOURS["duplicate"]
            place = max(float(row[value]), floor)
            if low and high:
                axes.plot(
                    [max(float(row[low]), floor), max(float(row[high]), floor)],
                    [level, level],
                    color=colour,
                    linewidth=2,
                )
            empty = log and row[value] <= 0
            axes.plot(
                place, level, "o", color=colour, markersize=7, markerfacecolor="white" if empty else colour
            )
            axes.annotate(
                f"{row[value]:,.0f}" if abs(row[value]) >= 1000 else f"{row[value]:.3g}",
                (end, level),
                (7, 0),
                textcoords="offset points",
                va="center",
                fontsize=9.5,
            )
        axes.set_yticks(range(len(table)), [str(text) for text in table[name]])
        axes.set_ylim(len(table) - 0.4, -0.6)
        if log:
            axes.set_xscale("log")
        axes.set_xlabel(x_label or value.replace("_", " "))
        axes.grid(visible=True, axis="x")
    return figure


def heatmap(
    table: pd.DataFrame, number_format: str = "{:.2f}", title: str = "", colour_label: str = ""
) -> Figure:
    """A table of numbers in [0, 1] as coloured cells with the numbers in them.

    Parameters
    ----------
    table
        Numbers; its index and columns are the labels. NaN leaves a cell without a number.
    number_format
        How a number is written.
    title, colour_label
        Text above the cells and beside the colour bar.
    """
    values = table.to_numpy(float)
    with style():
        figure = new_figure(height=0.36 * len(table) + 1.4)
        axes = figure.subplots()
        drawn = axes.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for (row, col), value in np.ndenumerate(values):
            if not np.isnan(value):
                axes.text(
                    col,
                    row,
                    number_format.format(value),
                    ha="center",
                    va="center",
                    fontsize=9.5,
                    color="white" if value < 0.5 else "black",
                )
        names = [str(text) for text in table.columns]
        if sum(map(len, names)) <= 45:
            axes.set_xticks(range(len(names)), names)
        else:
            axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(table)), [str(text) for text in table.index])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(title)
        figure.colorbar(drawn, ax=axes, label=colour_label, shrink=0.9)
    return figure
