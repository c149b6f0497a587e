"""Saved figures: the same bytes twice, small enough, where they belong; the style ends with its block."""

from __future__ import annotations

import pandas as pd
import pytest
from test_figures import pair_table, picture

from dupnet import figures


def test_save_writes_the_same_bytes_twice_and_the_numbers(tmp_path):
    table = pd.DataFrame({"x": [1, 2], "y": [1 / 3, 1e-9 + 1 / 3], "name": ["a", "b"]})
    written = []
    for folder in ("one", "two"):
        saved = figures.save(
            figures.distributions(pair_table(), ["correlation"]), "name", table, tmp_path / folder
        )
        written.append(saved.path.read_bytes())
        assert saved._repr_png_() == saved.path.read_bytes()
        assert saved.path == tmp_path / folder / "figures" / "name.png"
        assert (
            tmp_path / folder / "results" / "name.csv"
        ).read_text() == "x,y,name\n1,0.333333,a\n2,0.333333,b\n"
        assert str(tmp_path) not in repr(saved)
    assert written[0] == written[1]
    assert b"matplotlib" not in written[0].lower()


def test_save_brings_a_large_picture_under_the_limit(tmp_path):
    saved = figures.save(figures.show_tiles([picture(330, 330)], columns=1), "noise", folder=tmp_path)
    assert saved.path.stat().st_size <= 300_000
    figure = figures.show_tiles([picture(330, 330)], columns=1)
    assert figures.save(figure, "noise", folder=tmp_path, max_bytes=200_000).path.stat().st_size <= 200_000
    with pytest.raises(ValueError, match="stays above 1000 bytes"):
        figures.save(figure, "noise", folder=tmp_path, max_bytes=1000)


@pytest.mark.parametrize("name", ["", "Upper", "../escape", "with space", "a.png"])
def test_save_refuses_other_names(tmp_path, name):
    with pytest.raises(ValueError, match="name is"):
        figures.save(figures.new_figure(), name, folder=tmp_path)


@pytest.mark.parametrize("start", [".", "notebooks", "notebooks/eda"])
def test_save_finds_the_notebooks_folder(tmp_path, monkeypatch, start):
    (tmp_path / "notebooks" / "eda").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / start)
    assert (
        figures.save(figures.new_figure(), "empty").path == tmp_path / "notebooks" / "figures" / "empty.png"
    )


def test_style_is_undone_after_the_block():
    import matplotlib

    before = matplotlib.rcParams["font.size"]
    with figures.style():
        assert matplotlib.rcParams["font.size"] >= 9
    assert matplotlib.rcParams["font.size"] == before
