"""Addresses in the report are relative, and only what is a file has one."""

from __future__ import annotations

from pathlib import Path

from dupnet.report.links import Links


def test_images_of_several_folders(tmp_path: Path) -> None:
    for name in ("one/a.jpg", "two/b c.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (tmp_path / "out").mkdir()
    links = Links([tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    assert links.of("a.jpg") == "./../one/a.jpg"
    assert links.of("b c.jpg") == "./../two/b%20c.jpg"
    assert links.of("gone.jpg") is None
    assert links.data(["b c.jpg", "gone.jpg"]) == {"bases": ["./../one", "./../two"], "base": [1, -1]}


def test_a_page_that_lies_nowhere_links_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    assert Links(tmp_path, None).of("a.jpg") is None


def test_a_name_that_cannot_be_shown_is_no_address(tmp_path: Path) -> None:
    assert Links(tmp_path, tmp_path).of("a\nb.jpg") is None
