"""Every plot of the project, drawn by a function and saved under one name with the numbers behind it.

``signals`` draws how well something separates, ``charts`` other numbers, ``pictures`` images and tiles,
``diagrams`` structure; ``style`` holds the one visual style and :func:`save`. Each function returns a
:class:`matplotlib.figure.Figure` and shows nothing: a notebook ends its cell with ``figures.save(...)``,
which displays exactly what it wrote.
"""

from __future__ import annotations

from dupnet.files.extras import extra

with extra():
    from dupnet.figures.charts import heatmap, hls_limits, intervals, lines, scaling, training_history
    from dupnet.figures.diagrams import cascade, decision_tree, network, overlap_key
    from dupnet.figures.live import LiveFigure
    from dupnet.figures.pictures import error_gallery, rebuilt, show_pair, show_pairs, show_tiles
    from dupnet.figures.signals import distributions, reliability, score_histogram
    from dupnet.figures.style import COLOURS, PALETTE, SavedFigure, new_figure, save, style

__all__ = [
    "COLOURS",
    "LiveFigure",
    "PALETTE",
    "SavedFigure",
    "cascade",
    "decision_tree",
    "distributions",
    "error_gallery",
    "heatmap",
    "hls_limits",
    "intervals",
    "lines",
    "network",
    "new_figure",
    "overlap_key",
    "rebuilt",
    "reliability",
    "save",
    "scaling",
    "score_histogram",
    "show_pair",
    "show_pairs",
    "show_tiles",
    "style",
    "training_history",
]
