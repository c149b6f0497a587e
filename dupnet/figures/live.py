"""A figure in a notebook that is drawn anew while its numbers come."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from dupnet.figures.style import style

__all__ = ["LiveFigure"]


class LiveFigure:
    """Shows ``draw(table)`` in the output of a cell, anew at every call; outside of IPython nothing.

    A training calls it after every epoch:
    ``train(..., on_epoch=figures.LiveFigure(figures.training_history))``.
    :meth:`close` takes the figure out again, for what :func:`dupnet.figures.save` shows in its place.
    """

    def __init__(self, draw: Callable[[pd.DataFrame], Figure]) -> None:
        self._draw = draw
        self._shown: Any = None

    def __call__(self, table: pd.DataFrame) -> None:
        """Draw the table as it is by now."""
        display = _display()
        if display is None:
            return
        data = {"image/png": _png(self._draw(table)), "text/plain": ""}
        if self._shown is None:
            self._shown = display(data, raw=True, display_id=True)
        else:
            self._shown.update(data, raw=True)

    def close(self) -> None:
        """Leave nothing of the figure in the output."""
        if self._shown is not None:
            self._shown.update({"text/plain": ""}, raw=True)


def _display() -> Any:
    """IPython's function that shows something in a cell, None where no IPython runs."""
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return None
    return display if get_ipython() is not None else None


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=85, metadata={"Software": None})
    return buffer.getvalue()
