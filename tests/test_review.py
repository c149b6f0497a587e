import http.client
import json
import logging
import shutil
import signal
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from chromium import chromium, needs_chromium, page_errors, wait_for
from results import found as made_result
from results import written

from dupnet.commands.cli import main
from dupnet.find.engine import find_overlaps
from dupnet.metrics.pair_metrics import subtract_channel_medians
from dupnet.network.descriptors import load_weights, weights_bytes
from dupnet.report.previews import difference_map, encode
from dupnet.review import Judgements, Review, export_labels, open_review, read_judgements, serve, widget
from dupnet.review.page import _tunnel, make_server
from dupnet.review.tables import as_pairs, read_table
from dupnet.tiles import Grid, overlap_of_tag, overlaps

SIZE = 64  # pixels a tile: the smallest that the shipped network scores
N_PAIRS = 12
REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def found(tmp_path):
    """A folder as `dupnet find` leaves it: crops of one acquisition, their overlaps, scores in no order."""
    acquisition = np.random.default_rng(0).integers(0, 256, (5 * SIZE, 5 * SIZE, 3), dtype=np.uint8)
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    out.mkdir()
    cv2.imwrite(str(images / "centre.png"), acquisition[SIZE:-SIZE, SIZE:-SIZE])
    rows = []
    for number, overlap in enumerate(
        [o for o in overlaps() if max(abs(o.row_offset), abs(o.col_offset)) == 1]
    ):
        top, left = SIZE * (1 + overlap.row_offset), SIZE * (1 + overlap.col_offset)
        crop = acquisition[top : top + 3 * SIZE, left : left + 3 * SIZE].copy()
        if number % 2:
            crop[::3] += 1
        cv2.imwrite(str(images / f"crop {number} <b>&.png"), crop)
        rows.append(("centre.png", f"crop {number} <b>&.png", overlap.tag, 0.5 + 0.06 * (number * 5 % 8)))
    for number in range(N_PAIRS - len(rows)):
        rows.append((f"crop {number} <b>&.png", f"crop {number + 1} <b>&.png", "08", np.nan))
    table = pd.DataFrame(rows, columns=["image1", "image2", "overlap_tag", "score"])
    table["verdict"] = np.where(table["score"].isna(), "undecidable", "duplicate")
    table.to_csv(out / "overlaps.csv", index=False)
    (out / "run.json").write_text(json.dumps({"folders": [str(images)], "grid": {"tile_size": SIZE}}))
    return out


@pytest.fixture
def review(found):
    opened = open_review(found)
    yield opened
    opened.judgements.close()


def test_least_certain_first_and_unscored_last(review):
    scores = review.pairs["score"]
    assert len(scores) == N_PAIRS
    certain = (scores.dropna() - 0.5).abs()
    assert certain.is_monotonic_increasing
    assert scores.isna().tolist() == sorted(scores.isna().tolist())


def test_tiles_too_small_to_judge_have_no_score(review, monkeypatch):
    assert max(one["score"] for one in review.tiles(0)) > 0
    monkeypatch.setattr("dupnet.find.region_tiles.SMALLEST_TILE", SIZE + 1)
    scores = review.tiles(1)
    assert scores and all(one["score"] is None for one in scores)


def test_tiles_are_scored_by_the_network_that_found_them(found, tmp_path, monkeypatch, capsys):
    shipped = load_weights()
    own = replace(
        shipped,
        arrays={**shipped.arrays, "first_stage_score.bias": np.float32([-99])},
        deferral_band=(90, 91),
    )
    (tmp_path / "own.npz").write_bytes(weights_bytes(own))
    (tmp_path / "shipped.npz").write_bytes(weights_bytes(shipped))

    def highest(**options):
        opened = open_review(found, **options)
        with opened.judgements:
            return max(one["score"] for one in opened.tiles(0))

    run = json.loads((found / "run.json").read_text())
    assert highest() > 0.5 > highest(weights=tmp_path / "own.npz")
    run["options"] = {"weights": str(tmp_path / "own.npz")}
    (found / "run.json").write_text(json.dumps(run))
    assert highest(weights=tmp_path / "shipped.npz") > 0.5 > highest()
    opened = []
    monkeypatch.setattr("dupnet.review.serve", lambda review, *_, **__: opened.append(review))
    assert main(["review", str(found), "--weights", str(tmp_path / "shipped.npz")]) == 0
    assert max(one["score"] for one in opened[0].tiles(0)) > 0.5
    opened[0].judgements.close()
    (tmp_path / "own.npz").unlink()
    assert main(["review", str(found)]) == 2
    assert "a network that is not there any more" in capsys.readouterr().err


def test_pairs_are_judged_once_skipped_undone(review):
    assert review.next_pair() == 0
    assert review.judge(0, "duplicate") == ""
    assert review.judge(0, "duplicate") == "", "asked again, as after a lost answer"
    assert review.judge(0, "not_duplicate").startswith(
        "Not kept: this pair was judged duplicate before. Take"
    )
    assert review.next_pair(0) == 1
    assert review.next_pair(1) == 2  # pair 1 is skipped, not lost
    for pair in range(2, N_PAIRS):
        review.judge(pair, "undecidable")
    assert review.next_pair(N_PAIRS - 1) == 1
    review.judge(1, "not_duplicate")
    assert review.next_pair(1) is None
    state = review.state(None)
    assert state["counts"] == {"duplicate": 1, "not_duplicate": 1, "undecidable": N_PAIRS - 2}
    assert review.undo() == 1 and review.next_pair() == 1
    assert review.undo(5) == 5 and review.next_pair(1) == 5
    assert review.undo(5) is None
    assert review.judge(5, "duplicate") == "" and "duplicate before" in review.judge(5, "undecidable")
    with pytest.raises(ValueError, match="pair is 99"):
        review.judge(99, "duplicate")


def test_pictures_show_the_shared_pixels(review):
    pair = next(p for p in range(N_PAIRS) if "crop 1 " in review.pairs["image2"][p])  # crop 1 was changed
    overlap = review.state(pair)["pair"]
    regions = [review.picture(pair, name) for name in ("region1", "region2")]
    assert regions[0].shape == regions[1].shape
    assert np.array_equal(review.picture(pair, "absolute"), difference_map(*regions, medians=False))
    assert review.picture(pair, "absolute").any()
    for end, region in enumerate(regions, 1):
        assert np.array_equal(review.picture(pair, f"levels{end}"), subtract_channel_medians(region))
    assert not np.array_equal(review.picture(pair, "image1"), review.picture(pair, "image2"))
    parts = review.tiles(pair)
    assert overlap["y_offset"] % SIZE == overlap["x_offset"] % SIZE == 0
    tiles = [review.picture(pair, "region1", tile) for tile in range(len(parts))]
    columns = len({part["left"] for part in parts})
    shared = overlap_of_tag(overlap["overlap_tag"], Grid(3, 3, SIZE))
    names = [f"{one} ↔ {two}" for one, two in zip(shared.tiles1, shared.tiles2, strict=True)]
    assert [part["name"] for part in parts] == names
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    assert np.array_equal(np.vstack(rows), regions[0])
    for wrong in ({"tile": len(tiles)}, {"tile": -1}):
        with pytest.raises(ValueError, match="tile is"):
            review.picture(pair, "region1", **wrong)
    with pytest.raises(ValueError, match="picture is"):
        review.picture(pair, "everything")


def test_unchanged_pair_has_no_difference_and_every_tile_equals(review):
    pair = next(p for p in range(N_PAIRS) if "crop 0 " in review.pairs["image2"][p])
    assert not review.picture(pair, "absolute").any()
    for tile in range(len(review.tiles(pair))):
        assert np.array_equal(review.picture(pair, "region1", tile), review.picture(pair, "region2", tile))


def pairs_table(*rows):
    columns = ["image1", "image2", "overlap_tag", "y_offset", "x_offset", "score", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def test_names_that_lead_elsewhere_are_refused(found, tmp_path):
    cv2.imwrite(str(tmp_path / "secret.png"), np.zeros((96, 96, 3), np.uint8))
    for name in (
        "../secret.png",
        "a/../../secret.png",
        str(tmp_path / "secret.png"),
        "..",
        "",
        "vanished.png",
    ):
        pairs = pairs_table(("centre.png", name, "08", 0, 0, 0.5, ""))
        with Judgements(tmp_path / "j.csv") as judgements:
            with pytest.raises(ValueError, match=r"leads elsewhere|not in the folder"):
                Review(pairs, tmp_path / "images", judgements, tile_size=SIZE).picture(0, "image2")


@pytest.fixture(scope="module")
def off_grid(tmp_path_factory):
    """Crops of one scene of several sizes at any place, in folders, searched at any offset."""
    folder = tmp_path_factory.mktemp("off_grid")
    rng = np.random.default_rng(5)
    scene = cv2.resize(rng.integers(0, 256, (160, 190, 3), dtype=np.uint8), None, fx=4, fy=4)
    scene = cv2.add(scene, rng.integers(0, 30, scene.shape, dtype=np.uint8))
    places = {
        "a/one.png": (3, 5, 300, 340),
        "a/two.png": (96, 41, 256, 400),
        "three.png": (211, 133, 400, 333),
    }
    for name, (y, x, height, width) in places.items():
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), scene[y : y + height, x : x + width])
    find_overlaps(folder / "images", out=folder / "out", report=False)
    return folder / "out"


def test_pairs_at_any_offset_of_any_sizes(off_grid, tmp_path, capsys):
    opened = open_review(off_grid, judgements=tmp_path / "j.csv")
    with opened.judgements:
        assert len(opened.pairs) == 3 and (opened.pairs["overlap_tag"] == "").all()
        for pair in range(3):
            shown, row = opened.state(pair)["pair"], opened.pairs.loc[pair]
            assert (shown["y_offset"], shown["x_offset"]) == (row["y_offset"], row["x_offset"])
            assert np.array_equal(opened.picture(pair, "region1"), opened.picture(pair, "region2"))
            parts = opened.tiles(pair)
            # The lowest score of what is shown is that of the table, and what is shown is what was scored.
            assert min(part["score"] for part in parts if part["score"] is not None) == row["score"]
            for number, part in enumerate(parts):
                picture = opened.picture(pair, "absolute", number)
                assert picture.shape[:2] == (part["height"], part["width"]) and min(picture.shape[:2]) >= 64
        opened.judge(0, "not_duplicate")
    labels = tmp_path / "labels.csv"
    judgements = ["--judgements", str(tmp_path / "j.csv")]
    assert main(["review", str(off_grid), *judgements, "--export", str(labels)]) == 0
    row = opened.pairs.loc[0]
    assert labels.read_text().splitlines()[1] == f"{row.image1},{row.image2},,{row.y_offset},{row.x_offset},0"
    with pytest.raises(ValueError, match="counts in pixels: leave it out"):
        open_review(off_grid, tile_size=256)
    # The labels are a table of pairs themselves.
    again = open_review(labels, off_grid.parent / "images", tmp_path / "k.csv")
    with again.judgements:
        assert np.array_equal(again.picture(0, "region1"), opened.picture(0, "region1"))
    capsys.readouterr()
    images = str(off_grid.parent / "images")
    assert main(["evaluate", "--labels", str(labels), images, "--tile-size", "128"]) == 0
    assert " not_duplicate 1 0 1 0 " in " ".join(capsys.readouterr().out.split()), (
        "it is one, whatever we said"
    )


def test_what_follows_from_judgements_is_not_asked(off_grid, tmp_path):
    opened = open_review(off_grid, judgements=tmp_path / "j.csv")
    with opened.judgements:
        opened.judge(0, "duplicate")
        assert opened.next_pair() == 1
        opened.judge(1, "duplicate")
        assert opened.next_pair() is None
        state = opened.state(2)
        assert (state["judged"], state["implied"], state["contradictions"]) == (2, 1, 0)
        assert state["pair"]["judged"] is None and state["pair"]["implied"] == "duplicate"
        said = opened.judge(2, "not_duplicate")
        assert said.startswith("Kept, but it contradicts other judgements")
        assert opened.state(None)["contradictions"] == 1
        assert opened.undo() == 2 and opened.state(None)["contradictions"] == 0
        assert opened.undo(1) == 1 and opened.next_pair() == 1


def test_pairs_are_listed_by_name_and_kind(review):
    assert review.listed()["total"] == N_PAIRS and len(review.listed(start=10)["pairs"]) == 2
    assert [pair["id"] for pair in review.listed()["pairs"]] == list(range(N_PAIRS))
    assert review.listed("CENTRE")["total"] == 8 and review.listed("nowhere")["total"] == 0
    review.judge(3, "not_duplicate")
    for kind, n in {"judged": 1, "not_duplicate": 1, "open": N_PAIRS - 1, "undecidable": 4}.items():
        listed = review.listed(kind=kind)
        assert listed["total"] == n, kind
    assert review.listed(kind="judged")["pairs"][0]["judged"] == "not_duplicate"


def test_close_refusals_on_request(tmp_path, monkeypatch, capsys):
    result = made_result(
        [(0, 0, 0), (0, 0, 40), (1, 0, 0)],
        revisits=[(0, 2, 5, 6)],
        rejected=[(1, 2, 7, 8)],
        refused=[(0, 2, 9, 9)],
    )
    folder = written(result, tmp_path / "out")
    for name in result.groups["image"]:
        cv2.imwrite(str(tmp_path / name), np.zeros((100, 100, 3), np.uint8))
    opened = []
    monkeypatch.setattr("dupnet.review.serve", lambda review, *_, **__: opened.append(review))
    for option in ([], ["--near"]):
        assert main(["review", str(folder), "--images", str(tmp_path), *option]) == 0
        opened[-1].judgements.close()
    assert len(opened[0].pairs) == 1
    assert sorted(opened[1].pairs["verdict"]) == ["duplicate", "refused", "rejected", "revisit"]
    assert opened[1].listed(kind="revisit")["pairs"][0]["y_offset"] == 5
    (tmp_path / "t.csv").write_text("image1,image2,y_offset,x_offset\n000.jpg,001.jpg,0,0\n")
    assert main(["review", str(tmp_path / "t.csv"), "--images", str(tmp_path), "--near"]) == 2
    assert "--near goes with the output folder" in capsys.readouterr().err


def test_the_command_hands_on_what_it_is_told(found, tmp_path, monkeypatch):
    served = []
    monkeypatch.setattr("dupnet.review.serve", lambda *given, **named: served.append((given, named)))
    command = ["review", str(found), "--reviewer", "Ann", "--port", "5012", "--no-browser"]
    assert main([*command, "--judgements", str(tmp_path / "mine.csv")]) == 0
    (opened, port), named = served[0]
    assert (port, named) == (5012, {"open_browser": False})
    assert opened.judgements.reviewer == "Ann" == opened.state(0)["reviewer"]
    assert opened.judgements.path == tmp_path / "mine.csv"
    opened.judge(0, "duplicate")
    assert opened.state(0)["pair"]["by"] == "Ann"
    opened.judgements.close()
    assert main(["review", str(found)]) == 0
    assert served[1][0][1] == 0 and served[1][1] == {"open_browser": True}
    served[1][0][0].judgements.close()


def test_pairs_of_two_collections_show_pictures(off_grid, tmp_path):
    (tmp_path / "other").mkdir()
    image = cv2.imread(str(off_grid.parent / "images" / "a" / "one.png"))
    cv2.imwrite(str(tmp_path / "other" / "copy.png"), image[10:, 7:])
    find_overlaps(off_grid.parent / "images", out=tmp_path / "out", against=tmp_path / "other", report=False)
    opened = open_review(tmp_path / "out")
    with opened.judgements:
        names = set(opened.pairs["image1"]) | set(opened.pairs["image2"])
        assert "other/copy.png" in names and "a/one.png" in names
        for pair in range(len(opened.pairs)):
            assert np.array_equal(opened.picture(pair, "region1"), opened.picture(pair, "region2"))
            assert opened.picture(pair, "image2").ndim == 3


def test_any_table_of_pairs_will_do(tmp_path):
    head = "image1,image2,"
    tables = {
        "labels": head + "overlap_tag,is_duplicate\na,b,07,1\na,c,88,0\n",
        "offsets": head + "row_offset,col_offset\na,b,0,-1\na,c,2,2\n",
        "tiles": "image1,tile1,image2,tile2\na,0,b,1\na,3,b,4\na,8,c,0\n",
        "both": head + "overlap_tag,y_offset,x_offset\na,b,07,0,-256\na,c,88,,\n",
        "half": head + "overlap_tag,y_offset,x_offset\na,b,07,0,-256\na,c,88,512,\n",
    }
    for name, text in tables.items():
        (tmp_path / name).write_text(text)
        pairs = as_pairs(read_table(tmp_path / name), name, Grid)
        assert pairs["overlap_tag"].tolist() == ["07", "88"], name
        assert pairs[["y_offset", "x_offset"]].to_numpy().tolist() == [[0, -256], [512, 512]]
        assert pairs["score"].isna().all() and (pairs["verdict"] == "").all()
    (tmp_path / "pixels").write_text(head + "y_offset,x_offset\na,b,3,-4\na,b,3,-4\na,b,3,-5\n")

    def no_grid():
        raise AssertionError("pixels need no grid")

    pairs = as_pairs(read_table(tmp_path / "pixels"), "pixels", no_grid)
    assert pairs[["y_offset", "x_offset"]].to_numpy().tolist() == [[3, -4], [3, -5]]
    assert (pairs["overlap_tag"] == "").all()
    (tmp_path / "tiles").write_text("image1,tile1,image2,tile2\na,0,b,1\na,3,b,2\n")
    pairs = as_pairs(read_table(tmp_path / "tiles"), "tiles", lambda: Grid(2, 2))
    assert pairs["overlap_tag"].tolist() == ["02", "13"]
    (tmp_path / "odd").write_text("image1,image2\na,b\n")
    with pytest.raises(ValueError, match="lacks y_offset and x_offset"):
        as_pairs(read_table(tmp_path / "odd"), "odd", no_grid)
    (tmp_path / "odd").write_text("image1,image2,y_offset,x_offset\na,b,0,half\n")
    with pytest.raises(ValueError, match="odd: x_offset is 'half' in a row"):
        as_pairs(read_table(tmp_path / "odd"), "odd", no_grid)
    for name in ("photo.csv", "photo.parquet"):
        (tmp_path / name).write_text("")
        with pytest.raises(ValueError, match=f"{name}' is not a "):
            read_table(tmp_path / name)


def test_a_table_of_pairs_is_read_in_its_own_tiles(found, tmp_path):
    row = {"image1": "centre.png", "tile1": 0, "image2": "centre.png", "tile2": 4, "tile_size": SIZE}
    pd.DataFrame([row]).to_csv(tmp_path / "pairs.csv", index=False)
    with open_review(tmp_path / "pairs.csv", tmp_path / "images").judgements:
        pass
    opened = open_review(tmp_path / "pairs.csv", tmp_path / "images")
    assert opened.state(0)["pair"]["y_offset"] == opened.state(0)["pair"]["x_offset"] == -SIZE
    assert {(part["height"], part["width"]) for part in opened.tiles(0)} == {(SIZE, SIZE)}
    opened.judgements.close()
    with pytest.raises(ValueError, match=f"tile_size is 96, but the table is of tiles of {SIZE} px"):
        open_review(tmp_path / "pairs.csv", tmp_path / "images", tile_size=96)


def test_open_review_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"overlaps\.csv"):
        open_review(tmp_path)
    (tmp_path / "pairs.csv").write_text("image1,image2,overlap_tag\na,b,08\n")
    with pytest.raises(ValueError, match="--images"):
        open_review(tmp_path / "pairs.csv")
    (tmp_path / "pairs.csv").write_text("image1,image2,overlap_tag\n")
    with pytest.raises(ValueError, match="nothing to judge"):
        open_review(tmp_path / "pairs.csv", tmp_path)


def test_an_error_names_what_would_mend_it(found, tmp_path, capsys):
    (tmp_path / "pairs.csv").write_text("image1,image2,overlap_tag\ncentre.png,centre.png,08\n")
    faults = {
        (str(found), "--images", str(tmp_path)): "not in the folder of images. Name their folder (--images).",
        (
            str(found),
            "--tile-size",
            "7",
        ): f"tile_size is 7; {str(found)!r} counts in tiles of {SIZE} px: leave",
        (str(found), "--tile-size", "32"): "leave it out (--tile-size).",
        (str(tmp_path / "pairs.csv"), "--tile-size", "7"): "pass the tile_size (--tile-size) at which",
    }
    for arguments, message in faults.items():
        assert main(["review", *arguments]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and message in said
        assert ("(--images)" in said) == ("--images" in arguments)
    opened = open_review(found, tile_size=SIZE)
    opened.judgements.close()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("run.json", "{", "was not written by this version"),
        ("run.json", "[" * 5000, "was not written by this version"),
        ("run.json", '["x"]', "was not written by this version"),
        ("run.json", '{"folders": ["x"], "grid": 7}', "was not written by this version"),
        ("run.json", '{"folders": ["x"], "grid": null, "options": []}', "was not written by this version"),
        ("run.json", None, "holds no finished run of `dupnet find`"),
        ("groups.csv", "\0" * 50, r"lacks the column\(s\) image, group"),
        ("groups.csv", "image,group\n", r"lacks the column\(s\) mosaic, y, x"),
    ],
)
def test_a_damaged_result_is_told(file, content, message, off_grid, tmp_path):
    shutil.copytree(off_grid, tmp_path / "out")
    path = tmp_path / "out" / file
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(ValueError, match=rf"out(/{file})?' {message}"):
        open_review(tmp_path / "out")
    assert not (tmp_path / "out" / "judgements.csv").exists()


def test_labels_are_exported_in_the_format_of_the_data(found, review):
    with pytest.raises(FileNotFoundError, match=r"none\.csv' is missing\); judge pairs first: dupnet review"):
        export_labels(found, found / "labels.csv", found / "none.csv")
    for pair, verdict in enumerate(["duplicate", "undecidable", "not_duplicate"]):
        review.judge(pair, verdict)
    assert main(["review", str(found), "--export", str(found / "labels.csv")]) == 0
    table = pd.read_csv(found / "labels.csv", dtype={"overlap_tag": str})
    columns = ["image1", "image2", "overlap_tag", "y_offset", "x_offset"]
    assert table.columns.tolist() == [*columns, "is_duplicate"]
    assert table[columns].to_numpy().tolist() == review.pairs.loc[[0, 2], columns].to_numpy().tolist()
    assert table["overlap_tag"].tolist() == review.pairs["overlap_tag"][[0, 2]].tolist()
    assert table["is_duplicate"].tolist() == [1, 0]


def test_labels_replace_labels_alone(found, review):
    review.judge(0, "duplicate")
    for name in ("overlaps.csv", "judgements.csv"):
        before = (found / name).read_bytes()
        with pytest.raises(ValueError, match=rf"{name}' exists and is not a table of image1"):
            export_labels(found, found / name)
        assert (found / name).read_bytes() == before
    for _ in range(2):
        assert export_labels(found, found / "labels.csv") == 1


def test_widget_judges_like_the_page(review):
    shown = widget(review)
    progress, title, choices, pictures, buttons, told = shown.children
    view, tile = choices.children
    assert "overlap" in title.value and "<b>" not in title.value
    before = pictures.children[0].value
    view.value = "differences"
    assert pictures.children[0].value != before
    whole, n_tiles = pictures.children[0].value, len(review.tiles(0))
    assert [value for _, value in tile.options] == [None, *range(n_tiles)]
    tile.value = n_tiles - 1
    assert pictures.children[0].value == encode(review.picture(0, "absolute", n_tiles - 1)) != whole
    by_name = {button.description: button for button in buttons.children}
    by_name["not duplicate"].click()
    assert tile.value is None
    by_name["next"].click()
    by_name["duplicate"].click()
    assert review.judgements.table()["verdict"].tolist() == ["not_duplicate", "duplicate"]
    by_name["undo"].click()
    assert progress.value == 1 and told.value == ""
    review.judge(2, "undecidable")  # as from another window
    by_name["duplicate"].click()
    assert "judged undecidable before" in told.value
    for _ in range(N_PAIRS):
        by_name["undecidable"].click()
    assert title.value == "All pairs are judged." and by_name["next"].disabled


# The page, spoken to directly


@contextmanager
def serving(opened):
    server, address = make_server(opened)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.port, address.split("token=")[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def request(port, path, method="GET", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest(method, path, skip_host="Host" in names)
    for name, value in names.items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def judge_request(port, cookie, pair=0, verdict="duplicate", **headers):
    body = json.dumps({"pair": pair, "verdict": verdict}).encode()
    headers = {"Content_Type": "application/json", "Cookie": cookie, **headers}
    return request(port, "/judge", "POST", body, **headers)


def test_only_its_opener_gets_anything(review):
    with serving(review) as (port, token):
        answer, page = request(port, f"/?token={token}")
        cookie = answer.getheader("Set-Cookie")
        assert answer.status == 200 and b"<main>" in page and token.encode() not in page
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        assert "script-src 'self'" in answer.getheader("Content-Security-Policy")
        for name, value in {
            "Cache-Control": "no-store",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }.items():
            assert answer.getheader(name) == value
        cookie = cookie.split(";")[0]
        assert token not in cookie
        # The token has served its one opening; the cookie it is not.
        name = cookie.split("=")[0]
        for again in ({}, {"Cookie": f"{name}={token}"}, {"Cookie": f"{name}="}):
            assert request(port, f"/?token={token}", **again)[0].status == 403
        assert request(port, f"/?token={token}", Cookie=cookie)[0].status == 200
        paths = [
            "/",
            "/state",
            "/review.js",
            "/review.css",
            "/picture/0/image1",
            "/tiles/0",
            "/pairs?text=crop&kind=open&start=0",
            "/state?pair=3",
            "/labels.csv",
            "/x",
        ]
        for path in paths[:-1]:
            assert request(port, path, Cookie=cookie)[0].status == 200, path
        for path in paths:
            refused = {
                "no token": request(port, path),
                "wrong token": request(port, f"{path}?token={token[:-1]}", Cookie=cookie[:-1]),
                "spent token": request(port, f"{path}?token={token}"),
                "rebound name": request(port, path, Cookie=cookie, Host=f"rebound.test:{port}"),
                "another machine": request(port, path, Cookie=cookie, Host=f"127.0.0.10:{port}"),
                "other origin": request(port, path, Cookie=cookie, Origin="http://rebound.test"),
                "null origin": request(port, path, Cookie=cookie, Origin="null"),
                "other site": request(port, path, Cookie=cookie, Sec_Fetch_Site="cross-site"),
                "sibling site": request(port, path, Cookie=cookie, Sec_Fetch_Site="same-site"),
            }
            for why, got in refused.items():
                assert (got[0].status, got[1]) == (403, b""), (path, why)
        assert request(port, f"/?token={token}", Host="rebound.test")[0].status == 403
        for headers in ({"Content_Type": "text/plain"}, {"Origin": "http://127.0.0.1:1"}, {"Cookie": "a=b"}):
            answer, content = judge_request(port, cookie, **headers)
            assert (answer.status, content) == (403, b""), headers
        assert len(review.judgements) == 0
        assert judge_request(port, cookie, Origin=f"http://127.0.0.1:{port}")[0].status == 200
        assert len(review.judgements) == 1
        for path in (
            "/picture/0/../../x",
            "/picture/99/image1",
            "/picture/0/x",
            "/state?pair=99",
            "/tiles/99",
            "/../review.py",
            "/review.html",
            "/%2e%2e/x",
        ):
            answer, content = request(port, path, Cookie=cookie)
            assert answer.status == 404 and b"image" not in answer.getheader("Content-Type").encode(), path
        for body in (
            b"{}",
            b'{"pair": "0", "verdict": "duplicate"}',
            b'{"pair": 1, "verdict": "x"}',
            b"[",
            b"1",
        ):
            answer, _ = request(port, "/judge", "POST", body, Content_Type="application/json", Cookie=cookie)
            assert 400 <= answer.status < 500, body
        assert len(review.judgements) == 1


def test_a_tunnel_may_begin_at_another_port(review, monkeypatch, capsys):
    with serving(review) as (port, token):
        answer, _ = request(port, f"/?token={token}", Host="localhost:1234")
        cookie = answer.getheader("Set-Cookie").split(";")[0]
        beyond = {"Host": "localhost:1234", "Cookie": cookie}
        assert request(port, "/state", **beyond, Origin="http://localhost:1234")[0].status == 200
        for origin in (f"http://localhost:{port}", "http://127.0.0.1:1234", "http://localhost:4321"):
            assert request(port, "/state", **beyond, Origin=origin)[0].status == 403
    address = "http://127.0.0.1:5678/?token=secret"
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    assert _tunnel(address) == ""
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22")
    assert "ssh -N -L 5678:127.0.0.1:5678 HOST" in _tunnel(address) and "secret" not in _tunnel(address)


@pytest.fixture
def grouped(found):
    """The review of `found` with two groups: the centre with crops 0 to 4, and the other crops."""
    names = sorted(set(pd.read_csv(found / "overlaps.csv")[["image1", "image2"]].to_numpy().ravel()))
    number = {name: int(name.split()[1]) if " " in name else 0 for name in names}
    table = pd.DataFrame({"image": names, "group": [int(number[name] > 4) for name in names]})
    table.to_csv(found / "groups.csv", index=False)
    opened = open_review(found)
    yield opened
    opened.judgements.close()


def in_group(review, group=0):
    """The pairs of a group that the search calls duplicates."""
    pairs = review.pairs
    firsts = [int(name != "centre.png" and int(name.split()[1]) > 4) for name in pairs["image1"]]
    wanted = (pairs["verdict"] == "duplicate") & (np.array(firsts) == group)
    return np.flatnonzero(wanted).tolist()


def test_a_group_is_accepted_and_taken_back_as_a_whole(grouped):
    members = in_group(grouped)
    first, second, *others = members
    assert len(others) > 3
    grouped.judge(second, "not_duplicate")
    assert grouped.state(first)["pair"]["open_in_group"] == len(members) - 1
    assert grouped.accept_group(first) == len(members) - 1
    said = {pair: grouped.state(pair)["pair"]["judged"] for pair in members}
    assert said == dict.fromkeys([first, *others], "duplicate") | {second: "not_duplicate"}
    undecidable = np.flatnonzero(grouped.pairs["verdict"] == "undecidable")[0]
    assert grouped.state(undecidable)["pair"]["judged"] is None
    assert grouped.accept_group(first) == 0 and grouped.state(first)["pair"]["open_in_group"] == 0
    assert grouped.undo(others[0]) == others[0]  # one alone, on request
    assert len(grouped.judgements) == len(members) - 1
    assert grouped.undo() in members
    assert grouped.judgements.table()["verdict"].tolist() == ["not_duplicate"]
    assert grouped.undo() == second and grouped.undo() is None
    assert len(read_judgements(grouped.judgements.path)) == 0


def test_without_groups_none_can_be_accepted(review):
    assert review.state(0)["pair"]["open_in_group"] == 0 and review.accept_group(0) == 0
    with pytest.raises(ValueError, match="pair is 99"):
        review.accept_group(99)


def test_the_page_accepts_a_group(grouped):
    with serving(grouped) as (port, token):
        cookie = request(port, f"/?token={token}")[0].getheader("Set-Cookie").split(";")[0]
        headers = {"Content_Type": "application/json", "Cookie": cookie}
        for body in (b"1", b"{}", b'{"pair": "0"}'):
            assert request(port, "/accept", "POST", body, **headers)[0].status == 400
        members = in_group(grouped)
        body = json.dumps({"pair": members[0]}).encode()
        state = json.loads(request(port, "/accept", "POST", body, **headers)[1])
        assert state["told"].startswith(f"{len(members)} pairs of this group") and state["can_undo"]
        assert state["judged"] == len(members) and state["pair"]["id"] not in members


def test_places_say_where_the_common_region_lies(off_grid, tmp_path):
    opened = open_review(off_grid, judgements=tmp_path / "j.csv")
    with opened.judgements, serving(opened) as (port, token):
        cookie = request(port, f"/?token={token}")[0].getheader("Set-Cookie").split(";")[0]
        for pair in range(3):
            one, two = opened.places(pair)
            row = opened.pairs.loc[pair]
            assert (one["y"] - two["y"], one["x"] - two["x"]) == (row["y_offset"], row["x_offset"])
            for number, place in enumerate((one, two), 1):
                image = cv2.imread(str(off_grid.parent / "images" / row[f"image{number}"]))
                assert (place["height"], place["width"]) == image.shape[:2]
            assert json.loads(request(port, f"/places/{pair}", Cookie=cookie)[1]) == [one, two]
    with pytest.raises(ValueError, match="pair is 3"):
        opened.places(3)


def test_the_token_is_not_spent_by_what_does_not_open_the_page(review):
    with serving(review) as (port, token):
        path = f"/?token={token}"
        for headers in ({"Host": "rebound.test"}, {"Sec_Purpose": "prefetch;prerender"}, {"Origin": "null"}):
            assert request(port, path, **headers)[0].status == 403
        assert request(port, path, "POST", b"{}", Content_Type="application/json")[0].status == 403
        assert request(port, f"/state?token={token}")[0].status == 403
        assert request(port, f"/?token={token}x")[0].status == 403
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(request(port, path)[0].status)) for _ in range(8)
        ]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert sorted(answers) == [200, *[403] * 7]


def test_twenty_clients_at_once(review):
    """Each looks at a pair and judges one, the same that others judge."""
    failed, told = [], []

    def client(number):
        try:
            for path in ("/state", "/picture/0/absolute", f"/picture/{number % N_PAIRS}/image1", "/tiles/0"):
                answer, content = request(port, path, Cookie=cookie)
                assert answer.status == 200 and content, path
            verdict = ("duplicate", "not_duplicate")[number // 10]
            answer, content = judge_request(port, cookie, number % 10, verdict)
            assert answer.status == 200
            told.append(json.loads(content)["told"])
        except Exception as error:  # a thread's own would be lost
            failed.append(error)

    with serving(review) as (port, token):
        cookie = request(port, f"/?token={token}")[0].getheader("Set-Cookie").split(";")[0]
        threads = [threading.Thread(target=client, args=(number,)) for number in range(20)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    assert failed == []
    # Of two verdicts on one pair one is kept, and whoever gave the other is told.
    assert len(review.judgements) == 10 == sum(one.startswith("Not kept") for one in told)
    assert review.judgements.path.read_text().count("\n") == 11


def test_a_second_verdict_is_told_and_taken_back_on_request(review):
    with serving(review) as (port, token):
        cookie = request(port, f"/?token={token}")[0].getheader("Set-Cookie").split(";")[0]

        def post(path, **body):
            headers = {"Content_Type": "application/json", "Cookie": cookie}
            return json.loads(request(port, path, "POST", json.dumps(body).encode(), **headers)[1])

        assert post("/judge", pair=0, verdict="duplicate")["told"] == ""
        second = post("/judge", pair=0, verdict="undecidable")
        assert "judged duplicate before" in second["told"] and second["pair"]["id"] == 0
        assert second["pair"]["judged"] == "duplicate"
        post("/judge", pair=4, verdict="duplicate")
        undone = post("/undo", pair=0)
        assert undone["pair"]["id"] == 0 and undone["pair"]["judged"] is None and undone["told"] == ""
        assert "Nothing to take back" in post("/undo", pair=0)["told"]
        assert post("/undo")["pair"]["id"] == 4
        listed = json.loads(request(port, "/pairs?text=crop%200&kind=open", Cookie=cookie)[1])
        assert listed["total"] == 2


def test_the_browser_is_led_by_a_file_that_its_user_alone_can_read(review, monkeypatch):
    """Its command line, which every user of the machine sees, does not hold the token."""
    opened, looked = [], {}

    class Server:
        def serve_forever(self):
            while not opened:
                threading.Event().wait(0.01)
            path = Path(urllib.request.url2pathname(urllib.parse.urlsplit(opened[0]).path))
            looked.update(path=path, text=path.read_text(), mode=path.stat().st_mode & 0o777)
            looked["folder"] = path.parent.stat().st_mode & 0o777
            raise KeyboardInterrupt

        def server_close(self):
            pass

    address = "http://127.0.0.1:1/?token=secret"
    monkeypatch.setattr("dupnet.review.page.make_server", lambda review, port: (Server(), address))
    monkeypatch.setattr("webbrowser.open", opened.append)
    serve(review)
    assert opened[0].startswith("file://") and "secret" not in opened[0]
    assert f"url={address}" in looked["text"] and not looked["path"].exists()
    if sys.platform != "win32":
        assert (looked["mode"], looked["folder"]) == (0o600, 0o700)


def test_the_log_does_not_show_the_token(review, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with serving(review) as (port, token):
        assert request(port, f"/?token={token}")[0].status == 200
        assert request(port, f"/x?token={token}")[0].status == 403
    said = capfd.readouterr()
    assert token not in caplog.text + said.out + said.err


def test_without_flask_an_error_says_what_to_install(found, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "flask", None)
    assert main(["review", str(found), "--no-browser"]) == 2
    assert capsys.readouterr().err == (
        "dupnet: The review in a browser needs Flask: pip install 'dupnet[review]'.\n"
    )


def test_the_server_listens_on_the_loopback_address_only(review):
    server, address = make_server(review)
    assert server.socket.getsockname()[0] == "127.0.0.1" and address.startswith("http://127.0.0.1:")
    with pytest.raises(ValueError, match="cannot be used"):
        make_server(review, server.port)
    server.server_close()
    for port in (-1, 65536):
        with pytest.raises(ValueError, match=f"port is {port}; it must be in 0 to 65535"):
            make_server(review, port)


def test_a_repeated_request_counts_once_and_labels_are_exported(review):
    with serving(review) as (port, token):
        cookie = request(port, f"/?token={token}")[0].getheader("Set-Cookie").split(";")[0]
        for _ in range(3):
            _, content = judge_request(port, cookie, pair=3)
            assert json.loads(content)["judged"] == 1
        key = review.pairs.loc[3]
        lines = request(port, "/labels.csv", Cookie=cookie)[1].decode().splitlines()
        assert lines == [
            "image1,image2,overlap_tag,y_offset,x_offset,is_duplicate",
            f"{key.image1},{key.image2},{key.overlap_tag},{key.y_offset},{key.x_offset},1",
        ]
    assert review.judgements.path.read_text().count("\n") == 2


# The page in Chromium


@contextmanager
def review_process(folder):
    """`dupnet review` as a process of its own, which can be killed."""
    command = [sys.executable, "-c", "import sys; from dupnet.commands.cli import main; sys.exit(main())"]
    process = subprocess.Popen(
        [*command, "review", folder, "--no-browser"], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    try:
        yield process, process.stdout.readline().split()[-1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def pair_shown(driver):
    return driver.find_element("tag name", "body").get_attribute("data-pair")


def pictures_loaded(driver):
    return driver.execute_script(
        "const shown = [...document.querySelectorAll('#stage figure:not([hidden]) img')];"
        "return shown.length > 0 && shown.every((image) => image.complete && image.naturalWidth > 0);"
    )


def actions(driver):
    from selenium.webdriver.common.action_chains import ActionChains

    return ActionChains(driver)


def press(driver, key):
    driver.find_element("tag name", "body").send_keys(key)


@needs_chromium
def test_ten_pairs_by_keyboard_survive_a_kill(found):
    given = "dnudnudnud"
    names = {"d": "duplicate", "n": "not_duplicate", "u": "undecidable"}
    with chromium() as driver:
        with review_process(found) as (process, address):
            driver.get(address)
            seen = []
            for key in given:
                wait_for(driver, lambda d: pair_shown(d) is not None and pair_shown(d) not in seen)
                seen.append(pair_shown(driver))
                press(driver, key)
                # Before the next pair shows, the answer is on disk.
                wait_for(driver, lambda d: pair_shown(d) != seen[-1])
                assert len(read_judgements(found / "judgements.csv")) == len(seen)
            assert seen == [str(number) for number in range(10)]
            assert "token" not in driver.current_url
            process.send_signal(signal.SIGKILL)
            process.wait()
            press(driver, "d")
            wait_for(driver, lambda d: "Not confirmed" in d.find_element("id", "error").text)
        assert read_judgements(found / "judgements.csv")["verdict"].tolist() == [names[key] for key in given]
        with review_process(found) as (process, address):
            driver.get(address)
            wait_for(driver, lambda d: "10 of 12" in d.find_element("id", "progress-text").text)
            assert pair_shown(driver) == "10"
            press(driver, "s")
            wait_for(driver, lambda d: pair_shown(d) == "11")
            press(driver, "b")
            wait_for(driver, lambda d: pair_shown(d) == "10")
            press(driver, "z")
            wait_for(driver, lambda d: pair_shown(d) == "9")
            for key, after in (("n", "10"), ("d", "11"), ("d", "done")):
                press(driver, key)
                wait_for(driver, lambda d, after=after: pair_shown(d) == after)
            assert driver.find_element("id", "done").is_displayed()
    expected = [names[key] for key in given[:9]] + ["not_duplicate", "duplicate", "duplicate"]
    judged = read_judgements(found / "judgements.csv")
    assert judged["verdict"].tolist() == expected
    assert not judged.duplicated(["image1", "image2", "y_offset", "x_offset"]).any()


@needs_chromium
def test_views_and_tiles_by_keyboard_and_by_hand(review):
    with serving(review) as (port, token), chromium(width=390, height=844) as driver:
        driver.get(f"http://127.0.0.1:{port}/?token={token}")
        wait_for(driver, pictures_loaded)
        assert driver.find_element("css selector", "figcaption").text == review.pairs["image1"][0]
        for key, n_shown in (("2", 2), ("3", 1), ("4", 3), ("5", 1), ("1", 2)):
            press(driver, key)
            wait_for(driver, pictures_loaded)
            assert len(driver.find_elements("css selector", "#stage figure:not([hidden])")) == n_shown, key
        press(driver, "5")
        first = driver.find_element("css selector", "#stage figure:not([hidden]) img").get_attribute("src")
        wait_for(
            driver,
            lambda d: (
                d.find_element("css selector", "#stage figure:not([hidden]) img").get_attribute("src")
                != first
            ),
        )
        press(driver, "2")
        press(driver, "\ue014")  # arrow right: the first shared tile
        wait_for(driver, pictures_loaded)
        size = driver.execute_script("return document.querySelector('#stage img').naturalWidth")
        assert size == SIZE
        assert (
            driver.find_element("css selector", "#tiles [aria-pressed=true]").get_attribute("data-tile")
            == "0"
        )
        stage = "#stage figure:not([hidden])"
        width = driver.find_element("css selector", f"{stage} img").size["width"]
        for n_shown in (1, 2):  # a picture that is selected is shown alone, and not any more the second time
            driver.find_element("css selector", f"{stage} img").click()
            assert len(driver.find_elements("css selector", stage)) == n_shown
            grown = driver.find_element("css selector", f"{stage} img").size["width"] > 1.5 * width
            assert grown == (n_shown == 1)
        driver.find_element("css selector", "[data-verdict=duplicate]").click()
        wait_for(driver, lambda d: pair_shown(d) == "1")
        assert len(review.judgements) == 1 and review.state(0)["pair"]["judged"] == "duplicate"
        # The list: filter, jump; the help; and a verdict that was given elsewhere meanwhile is told.
        press(driver, "l")
        wait_for(driver, lambda d: len(d.find_elements("css selector", "#rows button")) == N_PAIRS)
        driver.find_element("id", "filter").send_keys("crop 3")
        wait_for(driver, lambda d: len(d.find_elements("css selector", "#rows button")) == 3)
        driver.find_element("css selector", "#rows button").click()
        wait_for(driver, lambda d: pair_shown(d) not in ("0", "1"))
        number = int(pair_shown(driver))
        press(driver, "?")
        assert driver.find_element("id", "keys").is_displayed()
        press(driver, "d")
        driver.find_element("css selector", "#keys button").click()
        assert pair_shown(driver) == str(number), "no verdict by what is typed into a dialog"
        review.judge(number, "not_duplicate")
        driver.find_element("css selector", "[data-verdict=duplicate]").click()
        wait_for(driver, lambda d: "judged not duplicate before" in d.find_element("id", "told").text)
        assert pair_shown(driver) == str(number)
        # Nothing is cut off at a phone's width, and no button is too small for a finger.
        assert driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
        heights = driver.execute_script(
            "return [...document.querySelectorAll('footer button')].map(b => b.offsetHeight)"
        )
        assert min(heights) >= 40
        assert page_errors(driver) == []


# Where on the screen the centre of the common region lies, in its frame, by picture.
CENTRES = """
return [...document.querySelectorAll('#stage img')].map((image, index) => {
  const { scale, x, y } = placed(image, index);
  const matrix = new DOMMatrix(getComputedStyle(image).transform);
  return [x + matrix.e, y + matrix.f, matrix.a * scale];
});
"""


@needs_chromium
def test_pictures_are_zoomed_and_moved_together(off_grid, tmp_path):
    opened = open_review(off_grid, judgements=tmp_path / "j.csv")
    with opened.judgements, serving(opened) as (port, token), chromium() as driver:
        driver.get(f"http://127.0.0.1:{port}/?token={token}")
        wait_for(driver, pictures_loaded)
        wait_for(driver, lambda d: d.execute_script("return places !== null"))
        for _ in range(3):
            press(driver, "+")
        assert driver.find_element("id", "zoom").text == "3.4 x"
        (x1, y1, scale1), (x2, y2, scale2) = driver.execute_script(CENTRES)
        assert (x1, y1) == pytest.approx((x2, y2), abs=1)
        image = driver.find_elements("css selector", "#stage img")[1]
        actions(driver).click_and_hold(image).move_by_offset(40, -30).release().perform()
        (x3, y3, _), (x4, y4, _) = driver.execute_script(CENTRES)
        assert (x4 - x2, y4 - y2) == pytest.approx((40, -30), abs=1)
        assert ((x3 - x1) / scale1, (y3 - y1) / scale1) == pytest.approx(
            ((x4 - x2) / scale2, (y4 - y2) / scale2), abs=0.5
        )
        assert len(driver.find_elements("css selector", "#stage figure:not([hidden])")) == 2  # no click
        press(driver, "0")
        assert driver.find_element("id", "zoom").text == "1 x"
        driver.execute_script(
            "const box = arguments[0].getBoundingClientRect();"
            "const at = {clientX: box.left + 9, clientY: box.top + 9};"
            "const turned = {deltaY: -100, bubbles: true, cancelable: true, ...at};"
            "arguments[0].dispatchEvent(new WheelEvent('wheel', turned))", image
        )  # fmt: skip
        wait_for(driver, lambda d: d.find_element("id", "zoom").text == "1.5 x")
        press(driver, "2")
        assert driver.find_element("id", "zoom").text == "1.5 x"
        press(driver, "s")
        wait_for(driver, lambda d: d.find_element("id", "zoom").text == "1 x")
        assert page_errors(driver) == []


@needs_chromium
def test_a_group_is_accepted_in_the_page_after_a_question(grouped):
    members = in_group(grouped)
    with serving(grouped) as (port, token), chromium() as driver:
        driver.get(f"http://127.0.0.1:{port}/?token={token}")
        wait_for(driver, pictures_loaded)
        driver.execute_script(f"go('state?pair={members[0]}')")
        wait_for(
            driver, lambda d: pair_shown(d) == str(members[0]) and not d.execute_script("return waiting")
        )
        for answer, n_judged in (("no", 0), ("yes", len(members))):
            press(driver, "g")
            assert str(len(members)) in driver.find_element("id", "accept-text").text
            driver.find_element("css selector", f"#accepting [value={answer}]").click()
            wait_for(driver, lambda _, n=n_judged: len(grouped.judgements) == n)
        wait_for(driver, lambda d: "Undo takes all" in d.find_element("id", "told").text)
        press(driver, "z")
        wait_for(driver, lambda _: len(grouped.judgements) == 0)
        assert page_errors(driver) == []


@needs_chromium
@pytest.mark.parametrize(("width", "height"), [(768, 1024), (844, 390), (667, 375), (1440, 900)])
def test_pictures_and_buttons_fit_the_screen(review, width, height):
    with serving(review) as (port, token), chromium(width, height) as driver:
        driver.get(f"http://127.0.0.1:{port}/?token={token}")
        wait_for(driver, pictures_loaded)
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        boxes = driver.execute_script(
            "return [...document.querySelectorAll('footer button, #stage img')]"
            ".map((one) => one.getBoundingClientRect())"
            ".map((box) => [box.left, box.top, box.right, box.bottom])"
        )
        for left, top, right, bottom in boxes:
            assert left >= 0 and top >= 0 and right <= width + 1 and bottom <= height + 1


@needs_chromium
def test_another_page_in_the_same_browser_gets_nothing(review):
    with serving(review) as (port, token), chromium() as driver:
        driver.get(f"http://127.0.0.1:{port}/?token={token}")
        wait_for(driver, pictures_loaded)
        driver.get("data:text/html,<title>another page</title>")
        script = """
            const [base, done] = arguments;
            const post = {method: "POST", credentials: "include", mode: "no-cors",
                          headers: {"Content-Type": "text/plain"},
                          body: '{"pair": 0, "verdict": "duplicate"}'};
            const picture = new Promise((loaded) => {
              const image = new Image();
              image.onload = () => loaded("picture");
              image.onerror = () => loaded("none");
              image.src = base + "picture/0/image1";
            });
            const tries = [
              fetch(base + "state", {credentials: "include"}).then((answer) => answer.text()),
              fetch(base + "judge", post).then(() => "opaque"),
              picture,
            ];
            Promise.allSettled(tries).then((all) => done(all.map((one) => one.value || "refused")));
        """
        got = driver.execute_async_script(script, f"http://127.0.0.1:{port}/")
        assert got[0] == "refused" and got[1] in ("refused", "opaque") and got[2] == "none"
        assert len(review.judgements) == 0
