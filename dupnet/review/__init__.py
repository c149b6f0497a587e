"""Judging overlaps by eye, least certain first, in a browser or in a notebook.

:class:`Review` (``queue``) knows what to show next and its pictures, :class:`Judgements` (``judgements``)
keeps the answers; :func:`serve` (``page``) is for a browser, :func:`widget` (``notebook``) for a notebook.
"""

from __future__ import annotations

from dupnet.review.judgements import VERDICTS, Judged, Judgements, labels, read_judgements
from dupnet.review.notebook import widget
from dupnet.review.opening import export_labels, open_review
from dupnet.review.page import serve
from dupnet.review.queue import PICTURES, Review

__all__ = [
    "PICTURES",
    "VERDICTS",
    "Judged",
    "Judgements",
    "Review",
    "export_labels",
    "labels",
    "open_review",
    "read_judgements",
    "serve",
    "widget",
]
