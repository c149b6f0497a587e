import pandas as pd
import pytest

from dupnet import figures
from dupnet.figures import live


def test_a_live_figure_is_shown_once_and_then_drawn_anew(monkeypatch):
    shown = []

    class Handle:
        def update(self, data, raw):
            shown.append(("update", data, raw))

    def display(data, raw, display_id):
        shown.append(("display", data, raw))
        return Handle()

    monkeypatch.setattr(live, "_display", lambda: display)
    seen = []

    def draw(table):
        seen.append(len(table))
        return figures.training_history(table)

    figure = figures.LiveFigure(draw)
    figure.close()  # nothing was shown yet
    history = pd.DataFrame({"epoch": [0, 1, 2], "loss": [3.0, 2.0, 1.0], "val_loss": [3.0, 2.5, 2.0]})
    for n_epochs in (1, 2, 3):
        figure(history.head(n_epochs))
    figure.close()
    assert seen == [1, 2, 3]
    assert [kind for kind, *_ in shown] == ["display", "update", "update", "update"]
    assert all(data["image/png"].startswith(b"\x89PNG") for _, data, _ in shown[:-1])
    assert shown[-1][1] == {"text/plain": ""} and all(raw for *_, raw in shown)


def test_outside_of_a_notebook_nothing_is_drawn():
    pytest.importorskip("IPython")
    figures.LiveFigure(lambda table: pytest.fail("drawn"))(pd.DataFrame())
