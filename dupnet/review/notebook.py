"""The review in a notebook."""

from __future__ import annotations

from typing import Any

from markupsafe import escape

from dupnet.files.extras import extra
from dupnet.report.previews import encode
from dupnet.review.judgements import VERDICTS
from dupnet.review.queue import Review

__all__ = ["widget"]

VIEWS = {
    "images": ("image1", "image2"),
    "overlap": ("region1", "region2"),
    "channel medians subtracted": ("levels1", "levels2"),
    "differences": ("absolute", "medians"),
}
"""Two pictures for each choice of what to show."""

ALL_TILES = ("all", None)
"""The choice of tiles to begin with; a whole image shows all of them whatever is chosen."""


def widget(review: Review) -> Any:
    """The review as a notebook widget (needs ``ipywidgets``): pictures, tile by tile too, verdicts, progress.

    Returns
    -------
    ipywidgets.VBox
    """
    with extra():
        import ipywidgets as widgets

    pictures = [
        widgets.Image(format="png", layout=widgets.Layout(width="48%", object_fit="contain"))
        for _ in range(2)
    ]
    view = widgets.ToggleButtons(options=list(VIEWS), description="")
    tile = widgets.Dropdown(options=[ALL_TILES], description="tiles")
    title, progress = widgets.HTML(), widgets.IntProgress(max=len(review.pairs))
    buttons = {
        name: widgets.Button(description=name.replace("_", " ")) for name in (*VERDICTS, "undo", "next")
    }
    current: list[int | None] = [review.next_pair()]
    told = widgets.HTML()

    def show(_change: object = None) -> None:
        """Text and pictures of the current pair."""
        state = review.state(current[0])
        progress.value, progress.description = state["judged"], f"{state['judged']} of {state['total']}"
        pair = state["pair"]
        for name in (*VERDICTS, "next"):
            buttons[name].disabled = pair is None
        buttons["undo"].disabled = not state["can_undo"]
        if pair is None:
            title.value = "All pairs are judged."
            return
        score = "" if pair["score"] is None else f", score {pair['score']:.3f}"
        where = f"overlap {pair['overlap_tag']}" if pair["overlap_tag"] else "overlap"
        where += f" at ({pair['y_offset']}, {pair['x_offset']}) px"
        judged = f", judged {pair['judged'].replace('_', ' ')}" if pair["judged"] else ""
        title.value = str(escape(f"{pair['image1']} and {pair['image2']}, {where}{score}{judged}"))
        tiles = [
            ALL_TILES,
            *((part["name"], place) for place, part in enumerate(review.tiles(pair["id"]))),
        ]
        if list(tile.options) != tiles:
            tile.options = tiles  # and so back to all of them
        for picture, name in zip(pictures, VIEWS[view.value], strict=True):
            picture.value = encode(review.picture(pair["id"], name, tile.value))

    def press(button: Any) -> None:
        name = next(name for name, known in buttons.items() if known is button)
        pair = current[0]
        tile.value = None
        told.value = ""
        if name == "undo":
            current[0] = review.undo()
        elif pair is not None:
            if name != "next":
                told.value = str(escape(review.judge(pair, name)))
            current[0] = review.next_pair(pair)
        show()

    for button in buttons.values():
        button.on_click(press)
    view.observe(show, "value")
    tile.observe(show, "value")
    show()
    choices = widgets.HBox([view, tile])
    return widgets.VBox(
        [progress, title, choices, widgets.HBox(pictures), widgets.HBox(list(buttons.values())), told]
    )
