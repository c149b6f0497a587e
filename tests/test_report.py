import base64
import hashlib
import html
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np
import pandas as pd
import pytest
from chromium import chromium, needs_chromium, page_errors, wait_for

from dupnet.find.overlaps import COLUMNS, REJECTED_COLUMNS, REVISIT_COLUMNS
from dupnet.find.results import GROUP_COLUMNS
from dupnet.report import page as report
from dupnet.report import pairs
from dupnet.report.mosaics import write_mosaics
from dupnet.report.previews import shown_name
from dupnet.tiles import overlaps

SIZE = 32
HOSTILE = [
    "<img src=x onerror=hacked()>.png",
    "</script><script>hacked()</script>.png".replace("/", "\u2215"),
    "\"'&amp;`${hacked()}.png",
    "=cmd|' !A0.png",
    "-rf {{ 7*7 }} .png",
    "two\nlines\u202egnp.exe",
    "\x07bell.png",
    "caf\u00e9 \U0001f6f3.png",
]


@pytest.fixture
def collection(tmp_path):
    """Crops of one acquisition under hostile names, and what `find` would say of them."""
    acquisition = np.random.default_rng(0).integers(0, 256, (4 * SIZE, 6 * SIZE, 3), dtype=np.uint8)
    folder = tmp_path / "images"
    folder.mkdir()
    names = sorted(HOSTILE)
    places = [(row, col) for row in range(2) for col in range(4)]
    for name, (row, col) in zip(names, places, strict=True):
        crop = acquisition[row * SIZE : (row + 3) * SIZE, col * SIZE : (col + 3) * SIZE]
        (folder / name).write_bytes(cv2.imencode(".png", crop)[1].tobytes())
    rows = []
    by_offset = {(overlap.row_offset, overlap.col_offset): overlap for overlap in overlaps()}
    for one in range(8):
        for two in range(one + 1, 8):
            offset = (places[two][0] - places[one][0], places[two][1] - places[one][1])
            if overlap := by_offset.get(offset):
                score = np.nan if overlap.n_tiles == 1 else 1 - 0.01 * len(rows)
                size = [(3 - abs(way)) * SIZE for way in offset]
                pixels = [way * SIZE for way in offset]
                counts = overlap.n_tiles, overlap.n_tiles, 0, score
                verdict = "undecidable" if overlap.n_tiles == 1 else "duplicate"
                ends = names[one], names[two], overlap.tag
                rows.append((*ends, *offset, *pixels, *size, *counts, verdict))
    table = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    table["score"] = table["score"].astype(float)
    groups = pd.DataFrame(
        [
            (name, 5, 0, row, col, row * SIZE, col * SIZE, 3 * SIZE, 3 * SIZE)
            for name, (row, col) in zip(names, places, strict=True)
        ],
        columns=list(GROUP_COLUMNS),
    )
    rejected = pd.DataFrame(
        [
            (names[0], names[1], "07", 0, -1, 0, -32, 96, 64, 6, 6, 0, 0.7, "duplicate", "loop", 32, -5),
            (
                names[0],
                names[2],
                "",
                pd.NA,
                pd.NA,
                1,
                2,
                95,
                94,
                9,
                9,
                0,
                0.6,
                "altered",
                "neighbours",
                pd.NA,
                pd.NA,
            ),
        ],
        columns=list(REJECTED_COLUMNS),
        dtype=object,
    )
    revisits = pd.DataFrame([(names[3], names[6], 17, -4, 79, 92, 12, 0.125)], columns=list(REVISIT_COLUMNS))
    left_out = [*names, os.fsdecode(b"caf\xe9.png")]
    unreadable = pd.DataFrame(
        [(name, "empty file <b>") for name in left_out], columns=["image", "reason"], dtype=object
    )
    result = SimpleNamespace(
        overlaps=table, groups=groups, rejected=rejected, revisits=revisits, unreadable=unreadable,
        counts={"images": 8, "images_in_groups": 7, "tiles_undecidable": 1234, "duplicate": 17},
        folders=(Path("/somewhere/chips"),),
        coverage=lambda: ["Searched: <i>everything</i>.", "Not searched: nothing."],
        converted=pd.DataFrame([(names[0], "grey")], columns=["image", "note"]),
    )  # fmt: skip
    return result, folder


class Page(HTMLParser):
    """Tags, attributes and the visible text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.data = [], [], ""
        self._inside = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside = (tag, dict(attributes))

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        tag, attributes = self._inside or ("", {})
        if tag == "script" and attributes.get("type") == "application/json":
            self.data += data
        elif tag not in ("script", "style"):
            self.text.append(data)


def test_the_page_needs_nothing_outside_itself(collection):
    text = report.render(*collection)
    assert 'href="./' not in text and 'href="./' in report.render(*collection, beside=collection[1].parent)
    assert (
        "7 of the" in text and "images of /somewhere/chips share ground with another: a random split" in text
    )
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "base", "form")
        for name, value in attributes.items():
            assert not name.startswith("on") and name != "style"
            if name in ("src", "href", "srcset", "data"):
                assert value.startswith(("data:image/jpeg;base64,", "#")), (tag, name)
    assert "//" not in re.sub(r"data:[^\"]*|\n *//.*|; //.*|http://www.w3.org/2000/svg", "", text)


def test_the_policy_allows_only_the_pages_own_script_and_style(collection):
    text = report.render(*collection)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text).group(1).replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; img-src data:; ") and "unsafe" not in policy
    for tag in ("style", "script"):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.S).group(1)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
        assert len(re.findall(rf"<{tag}>", text)) == 1


def test_every_name_is_escaped_wherever_it_stands(collection):
    page = Page(report.render(*collection))
    shown = "\n".join(page.text)
    assert sum(tag == "script" for tag, _ in page.tags) == 2
    assert not any(tag == "img" and not a["src"].startswith("data:image/jpeg") for tag, a in page.tags)
    assert not any(tag == "b" for tag, _ in page.tags)
    assert "<img src=x onerror=hacked()>.png" in shown and "-rf {{ 7*7 }} .png" in shown
    assert "two\\nlines\\u202egnp.exe" in shown and "caf\\udce9.png" in shown
    names = json.loads(page.data)["names"]
    assert "<img src=x onerror=hacked()>.png" in names and len(names) == 8
    assert "<" not in page.data and ">" not in page.data and "&" not in page.data


def test_counts_tables_and_pictures_are_those_of_the_result(collection, monkeypatch):
    monkeypatch.setattr(report, "N_PAIRS", 3)
    monkeypatch.setattr(report, "N_REVISITS", 0)
    result, folder = collection
    text = report.render(result, folder)
    page = Page(text)
    shown = " ".join(" ".join(page.text).split())
    assert (
        f"7 of the 8 images of {Path('/somewhere/chips')} share ground with another: a random split leaks. "
        "<code>dupnet split</code> on this folder keeps them together."
    ) in text
    assert (
        "images 8 duplicate overlaps 17 images that overlap another 7 Searched: <i>everything</i>. Not "
        "searched: nothing. All counts of the search tiles with nothing to judge by (solid and the like) "
        "1,234 " in shown
    )
    assert "Group 5, mosaic 0: 8 images on 128 x 192 px" in shown
    table = json.loads(page.data)
    ordered = pairs.in_order(result.overlaps)
    for name in ("y_offset", "x_offset", "height", "width", "n_tiles", "n_decidable", "n_differing"):
        assert table[name] == ordered[name].tolist()
    assert [table["verdicts"][code] for code in table["verdict"]] == ordered["verdict"].tolist()
    assert [table["names"][code] for code in table["image1"]] == [
        shown_name(one) for one in ordered["image1"]
    ]
    expected = [None if np.isnan(score) else pytest.approx(score) for score in ordered["score"]]
    assert table["score"] == expected
    assert table["sizes"] == [[3 * SIZE, 3 * SIZE]] * 8 and table["copies"] == {}
    assert table["base"] == [-1] * 8  # a page that lies nowhere leads nowhere
    assert sorted(table["thumbnails"]) == sorted(map(str, range(8)))
    assert decode(table["thumbnails"]["0"]).shape == (3 * SIZE, 3 * SIZE, 3)
    pictures = [a["src"] for tag, a in page.tags if tag == "img"]
    assert len(pictures) == 1 + 3 * 3
    mosaic, *of_pairs = (decode(picture) for picture in pictures)
    assert mosaic.shape == (4 * SIZE, 6 * SIZE, 3)
    for one, two, difference in zip(of_pairs[::3], of_pairs[1::3], of_pairs[2::3], strict=True):
        assert one.shape == two.shape == difference.shape
        assert np.array_equal(one, two) and difference.max() <= 2


def test_the_table_says_how_many_others_show_the_very_same(collection):
    result, _ = collection
    first, second = result.overlaps[["image1", "image2"]].iloc[0]
    stacks = {second: [second, "copy.png", "other copy.png"]}
    data = pairs.table_data(result.overlaps, result.groups, stacks)
    assert data["names"][:2] == [shown_name(first), shown_name(second)]
    assert data["copies"] == {1: 2}


def test_common_ground_of_a_changed_copy_is_shown_in_it_as_it_is(collection):
    """Image 2 is image 1 turned by a half, so its common ground is all of it."""
    result, _ = collection
    side = 3 * SIZE
    half_turn = {"yy": -1.0, "yx": 0.0, "y_shift": side - 1.0, "xy": 0.0, "xx": -1.0, "x_shift": side - 1.0}
    turned = {"flip": False, "turn": 180, "scale": 1.0, "rotation": 0.0, **half_turn}
    overlaps = result.overlaps.head(1).assign(**turned)
    (changed,) = pairs.table_data(overlaps, result.groups, {})["changed"].values()
    corners = [[0, 0], [0, side], [side, 0], [side, side]]
    assert sorted(changed["two"]) == corners
    assert (changed["share"], list(changed["size"])) == (1, [side, side])


def test_what_a_person_should_look_at_comes_first(collection):
    result, _ = collection
    table = result.overlaps.head(6).assign(
        verdict=["undecidable", "duplicate", "altered", "duplicate", "altered", "duplicate"],
        score=[np.nan, 0.999, 0.9, 0.7, 0.4, 0.999],
        height=[9, 10, 9, 9, 9, 90],
        width=10,
    )
    first = list(table.index)
    assert pairs.in_order(table).index.tolist() == [first[place] for place in (4, 2, 3, 5, 1, 0)]


def test_links_lead_to_the_images_and_the_mosaics(collection, tmp_path):
    result, folder = collection
    write_mosaics(result.groups, folder, tmp_path / "out" / "mosaics")
    report.write(result, folder, tmp_path / "out" / "report.html", mosaics=tmp_path / "out" / "mosaics")
    text = (tmp_path / "out" / "report.html").read_text()
    page = Page(text)
    found = {a["href"] for tag, a in page.tags if tag == "a" and a["href"].startswith(".")}
    assert "./mosaics/000000.jpg" in found
    paths = {(tmp_path / "out" / unquote(address)).resolve() for address in found}
    assert all(path.is_file() for path in paths)
    plain = {name for name in HOSTILE if shown_name(name) == name}
    assert {path.name for path in paths} == {*plain, "000000.jpg"}
    data = json.loads(page.data)
    assert data["bases"] == ["./../images"]
    assert {name for name, base in zip(data["names"], data["base"], strict=True) if base == 0} == plain


def test_an_image_is_linked_where_it_is_of_several_folders(collection, tmp_path):
    result, folder = collection
    other = tmp_path / "other"
    other.mkdir()
    name = next(name for name in sorted(HOSTILE) if shown_name(name) == name)
    (folder / name).rename(other / name)
    data = json.loads(Page(report.render(result, [folder, other], beside=tmp_path)).data)
    assert data["bases"] == ["./images", "./other"]
    assert data["base"][data["names"].index(name)] == 1
    assert sorted(set(data["base"])) == [-1, 0, 1]


def test_a_mosaic_that_was_written_is_not_drawn_again(collection, tmp_path, monkeypatch):
    result, folder = collection
    write_mosaics(result.groups, folder, tmp_path / "mosaics")
    drawn = Page(report.render(result, folder))
    monkeypatch.setattr(report, "mosaic", None)
    shown = Page(report.render(result, folder, beside=tmp_path, mosaics=tmp_path / "mosaics"))
    one, two = (
        decode(next(a["src"] for tag, a in page.tags if tag == "img")).astype(int) for page in (drawn, shown)
    )
    assert one.shape == two.shape and np.abs(one - two).mean() < 20  # noise, compressed once more
    assert "the whole picture" in " ".join(shown.text) and "the whole picture" not in " ".join(drawn.text)


def test_of_many_images_only_those_that_cover_the_ground_are_outlined(collection, monkeypatch):
    result, folder = collection

    def outlines(text):
        return len(
            re.findall("<rect x=", re.search("<figure class=.largest.*?</figure>", text, re.S).group(0))
        )

    text = report.render(result, folder)
    assert outlines(text) == 8 and "Each white outline is one image." in text
    monkeypatch.setattr(report, "MAX_OUTLINES", 7)
    text = report.render(result, folder)
    assert 2 <= outlines(text) < 8 and f"those of {outlines(text)} images that together cover" in text
    assert 'id="outlines-0" checked' not in text


def test_label_conflicts_are_put_into_a_report(collection, tmp_path):
    path = tmp_path / "report.html"
    conflicts = pd.DataFrame(
        {"image1": ["<b>.png", "a&1 \\g<0>"], "image2": "c.png", "kind": "class", "label1": "ship",
         "label2": "<i>", "agreement": 0.0, "share": 0.75}
    )  # fmt: skip
    assert not report.add_label_conflicts(path, conflicts, 7)
    report.write(*collection, path)
    before = path.read_text()
    assert "Labels were not compared" in before
    for _ in range(2):  # a second time takes the place of the first
        assert report.add_label_conflicts(path, conflicts, 7)
        text = path.read_text()
        assert rows_of(text, "labels") == [
            [name, "c.png", "class", "ship", "<i>", "0.000", "0.750"] for name in conflicts["image1"]
        ]
        assert "2 of 7 pairs of images" in text and "Labels were not compared" not in text
    assert not any(tag in ("b", "i") for tag, _ in Page(text).tags)
    assert report.add_label_conflicts(path, conflicts.head(0), 7)
    assert "the labels of all 7 pairs that were compared agree" in path.read_text()
    path.write_text("<p>another page")
    assert not report.add_label_conflicts(path, conflicts, 7) and path.read_text() == "<p>another page"


def test_rows_beyond_what_the_page_can_hold_are_in_the_csv(collection, monkeypatch):
    monkeypatch.setattr(pairs, "MAX_TABLE", 5)
    result, folder = collection
    page = Page(report.render(result, folder))
    assert len(json.loads(page.data)["score"]) == 5
    assert f"the first 5 of {len(result.overlaps)} pairs" in " ".join(page.text)


def test_thumbnails_stop_at_what_the_page_can_hold(collection, monkeypatch):
    result, folder = collection
    monkeypatch.setattr(pairs, "MAX_THUMBNAILS", 3)
    assert list(json.loads(Page(report.render(result, folder)).data)["thumbnails"]) == ["0", "1", "2"]
    monkeypatch.setattr(pairs, "THUMBNAIL_BYTES", 20_000)
    thumbnails = json.loads(Page(report.render(result, folder)).data)["thumbnails"]
    assert 1 <= len(thumbnails) < 3 and sum(map(len, thumbnails.values())) <= 20_000


def rows_of(text, section):
    """The cells of the table of a section, row by row."""
    inside = re.search(rf'<section id="{section}">.*?</section>', text, re.S).group(0)
    rows = re.findall(r"<tr>(<td>.*?)</tr>", inside, re.S)
    return [[html.unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", row, re.S)] for row in rows]


def test_rejected_overlaps_and_revisits_are_listed(collection):
    result, folder = collection
    text = report.render(result, folder)
    names = [shown_name(name) for name in sorted(HOSTILE)]
    assert rows_of(text, "rejected") == [
        [names[0], names[1], "0, -32", "0.700", "loop", "+32, -5"],
        [names[0], names[2], "1, 2", "0.600", "neighbours", ""],
    ]
    assert rows_of(text, "revisits") == [[names[3], names[6], "17, -4", "79 x 92", ""]]


def test_revisits_that_may_be_edited_copies_come_first(collection):
    result, folder = collection
    three = pd.concat([result.revisits] * 3, ignore_index=True)
    result.revisits = three.assign(agreeing_share=[np.nan, 0.1, 0.844])
    text = report.render(result, folder)
    assert [row[-1] for row in rows_of(text, "revisits")] == ["84 %", "10 %", ""]
    assert "revisit, pixels agree in 84 %" in text and "revisit, pixels agree in nan" not in text


def test_an_altered_overlap_says_what_differs(collection, monkeypatch):
    monkeypatch.setattr(report, "N_PAIRS", 1)
    result, folder = collection
    result.overlaps = result.overlaps.head(1).assign(verdict="altered", n_differing=2, overlap_tag="")
    shown = " ".join(" ".join(Page(report.render(result, folder)).text).split())
    row = result.overlaps.iloc[0]
    assert f"altered, {row.score:.4f} of it agrees" in shown
    assert f"{row.height} x {row.width} px at offset ({row.y_offset}, {row.x_offset});" in shown
    assert f"{row.n_decidable} of {row.n_tiles} tiles decidable, 2 differ" in shown


@pytest.mark.parametrize(
    ("shapes", "offset", "key"),
    [
        (((100, 100), (100, 100)), (0, 0), ([0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10])),
        (
            ((100, 50), (40, 200)), (70, -100),
            ([-5, 0, 10, 5.5], [0, 0, 2.5, 5], [-5, 3.5, 10, 2], [0, 3.5, 2.5, 1.5]),
        ),
    ],
)  # fmt: skip
def test_the_drawing_of_a_pair_shows_both_images_and_what_they_share(shapes, offset, key):
    drawn = pairs.key(*shapes, *offset)
    assert tuple(drawn[name] for name in ("view", "one", "two", "shared")) == key


def decode(uri):
    data = np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def test_the_same_result_gives_the_same_bytes(collection, tmp_path):
    for name in ("one.html", "two.html"):
        report.write(*collection, tmp_path / name)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_nothing_found_and_nothing_readable(tmp_path):
    def empty(*columns):
        return pd.DataFrame(columns=list(columns))

    nothing = SimpleNamespace(
        overlaps=empty(*COLUMNS), groups=empty(*GROUP_COLUMNS), unreadable=empty("image", "reason"),
        rejected=empty(*REJECTED_COLUMNS), revisits=empty(*REVISIT_COLUMNS), counts={}, folders=(),
        converted=empty("image", "note"), coverage=lambda: [],
    )  # fmt: skip
    shown = " ".join(Page(report.render(nothing, tmp_path)).text)
    for sentence in (
        "No two images overlap",
        "There is no overlap",
        "every file was read",
        "agree with each other",
        "None was found",
    ):
        assert sentence in shown


def test_images_that_vanished_are_left_out(collection):
    result, folder = collection
    for path in folder.iterdir():
        if path.name != "caf\u00e9 \U0001f6f3.png":
            path.unlink()
    page = Page(report.render(result, folder))
    assert "Its images cannot be read any more." in " ".join(page.text)
    assert not any(tag == "img" for tag, _ in page.tags)


def test_images_that_changed_their_size_are_left_out(collection):
    result, folder = collection
    for path in folder.iterdir():
        path.write_bytes(cv2.imencode(".png", np.zeros((32, 32, 3), np.uint8))[1].tobytes())
    page = Page(report.render(result, folder))
    assert "Its images cannot be read any more." in " ".join(page.text)
    assert not any(tag == "img" for tag, _ in page.tags)


def sizes_of(table):
    """Groups of the images of a table, each alone, large enough for any of its regions."""
    names = pd.unique(table[["image1", "image2"]].to_numpy().ravel())
    numbers = range(len(names))
    return pd.DataFrame(
        {"image": names, "group": numbers, "mosaic": numbers, "y": 0, "x": 0, "height": 768, "width": 768}
    )


def many(n=10_000):
    """An overlaps table of the size that must stay below 20 MB, with Airbus-like names."""
    rng = np.random.default_rng(0)
    names = np.array([f"{number:09x}.jpg" for number in rng.integers(0, 16**9, 6000)])
    tags = [overlap.tag for overlap in overlaps()]
    chosen = rng.integers(0, 25, n)
    return pd.DataFrame({
        "image1": names[rng.integers(0, 6000, n)], "image2": names[rng.integers(0, 6000, n)],
        "overlap_tag": [tags[index] for index in chosen], "row_offset": 0, "col_offset": 0,
        "y_offset": rng.integers(-767, 768, n), "x_offset": rng.integers(-767, 768, n),
        "height": rng.integers(1, 769, n), "width": rng.integers(1, 769, n), "n_differing": 0,
        "n_tiles": [overlaps()[index].n_tiles for index in chosen], "n_decidable": 1,
        "score": 1 - rng.random(n) ** 4 / 2,
        "verdict": np.where(np.arange(n) % 10, "duplicate", "undecidable"),
    })  # fmt: skip


def test_ten_thousand_overlaps_stay_small(collection, monkeypatch):
    monkeypatch.setattr(report, "N_PAIRS", 0)
    result, folder = collection
    few = len(report.render(result, folder))
    result.overlaps = table = many()
    names = pd.unique(table[["image1", "image2"]].to_numpy().ravel())
    result.groups = pd.concat(
        [result.groups, pd.DataFrame({"image": names, "mosaic": range(1, 1 + len(names)), "group": 0, "y": 0,
                                      "x": 0, "height": 768, "width": 768})], ignore_index=True
    )  # fmt: skip
    added = len(report.render(result, folder)) - few
    assert added < 1_000_000
    # What the pictures may add at most, of pure noise, which compresses worst.
    noise = np.random.default_rng(1).integers(0, 256, (report.LARGEST_SIDE,) * 2 + (3,), dtype=np.uint8)

    def size(side):
        return len(report.data_uri(noise[:side, :side], ".jpg", report.QUALITY))

    mosaics = size(report.LARGEST_SIDE) + (report.N_GROUPS - 1) * size(report.MOSAIC_SIDE)
    cards = (report.N_PAIRS + report.N_REVISITS) * 3 * size(pairs.REGION_SIDE)
    assert few + added + mosaics + cards + pairs.THUMBNAIL_BYTES < 20_000_000


# In Chromium


def cells(driver, column):
    return [
        cell.text
        for cell in driver.find_elements("css selector", f"#overlap-table tbody td:nth-child({column})")
    ]


@needs_chromium
def test_hostile_names_run_nothing(collection, tmp_path):
    report.write(*collection, tmp_path / "report.html")
    with chromium() as driver:
        driver.get((tmp_path / "report.html").as_uri())
        assert driver.execute_script("return typeof hacked") == "undefined"
        assert page_errors(driver) == []
        assert {"<img src=x onerror=hacked()>.png", "two\\nlines\\u202egnp.exe"} <= set(
            cells(driver, 2) + cells(driver, 3)
        )
        driver.execute_cdp_cmd(
            "Runtime.evaluate",
            {"expression": "document.body.innerHTML += '<img src=x onerror=\"window.hacked = 1\">'"},
        )
        assert (
            driver.execute_script("return typeof hacked") == "undefined"
        )  # the policy, were an escape forgotten


@needs_chromium
def test_table_is_sorted_filtered_and_paged_by_keyboard(collection, tmp_path):
    result, folder = collection
    result.overlaps = table = many()
    result.groups, result.revisits = sizes_of(table), result.revisits.head(0)
    report.write(result, folder, tmp_path / "report.html")
    with chromium() as driver:
        driver.get((tmp_path / "report.html").as_uri())
        assert "10,000 of 10,000 overlaps, page 1 of 400" in driver.find_element("id", "shown").text
        first_seen = pairs.in_order(table)
        assert cells(driver, 2) == first_seen["image1"][:25].tolist()
        button = driver.find_element("css selector", "th[data-column=score] button")
        button.send_keys("\n")
        header = driver.find_element("css selector", "th[data-column=score]")
        assert header.get_attribute("aria-sort") == "ascending"
        assert cells(driver, 5) == [
            f"{score:.4f}" for score in table["score"].round(4).sort_values(kind="stable")[:25]
        ]
        button.send_keys(" ")
        assert header.get_attribute("aria-sort") == "descending"
        assert driver.find_elements("css selector", "th[aria-sort=ascending]") == []
        button.send_keys(" ")  # a third time: as it was
        assert header.get_attribute("aria-sort") == "none"
        assert cells(driver, 2) == first_seen["image1"][:25].tolist()
        driver.find_element("css selector", "th[data-column=image2] button").click()
        ordered = first_seen.sort_values("image2", kind="stable")
        assert cells(driver, 3) == ordered["image2"][:25].tolist()
        for _ in range(2):
            driver.find_element("id", "following").send_keys("\n")
        assert cells(driver, 3) == ordered["image2"][50:75].tolist()
        jump = driver.find_element("id", "page")
        jump.send_keys("\ue009a\ue000", "123\n")  # Control and a: all of what is there
        assert cells(driver, 3) == ordered["image2"][122 * 25 : 123 * 25].tolist()
        driver.find_element("id", "last").click()
        assert cells(driver, 3) == ordered["image2"][-25:].tolist()
        driver.find_element("id", "first").click()
        assert cells(driver, 3) == ordered["image2"][:25].tolist()
        name = table["image1"][1234]
        driver.find_element("id", "filter-name").send_keys(name[:7].upper())
        with_name = table[table["image1"].str.contains(name[:7]) | table["image2"].str.contains(name[:7])]
        wait_for(driver, lambda d: len(cells(d, 2)) == len(with_name))
        driver.find_element("id", "filter-verdict").send_keys("undecidable")
        with_verdict = with_name[with_name["verdict"] == "undecidable"]
        wait_for(driver, lambda d: len(cells(d, 2)) == len(with_verdict))
        assert page_errors(driver) == []


@needs_chromium
def test_a_row_opens_its_pair(collection, tmp_path):
    result, folder = collection
    report.write(result, folder, tmp_path / "report.html")
    first = pairs.in_order(result.overlaps).iloc[0]
    with chromium() as driver:
        driver.get((tmp_path / "report.html").as_uri())
        assert driver.find_elements("css selector", ".details") == []
        button = driver.find_element("css selector", "button.open")
        button.send_keys("\n")
        opened = driver.find_element("css selector", ".details")
        assert button.get_attribute("aria-expanded") == "true"
        assert [
            image.get_property("naturalWidth") for image in opened.find_elements("css selector", "img")
        ] == [3 * SIZE, 3 * SIZE]
        boxes = [
            [int(box.get_attribute(name)) for name in ("y", "x", "height", "width")]
            for box in opened.find_elements("css selector", ".region rect")
        ]
        y, x, size = first.y_offset, first.x_offset, [first.height, first.width]
        assert boxes == [[max(0, y), max(0, x), *size], [max(0, -y), max(0, -x), *size]]
        assert f"Image 2 lies {abs(y)} px" in opened.text and f"a score of {first.score:.4f}" in opened.text
        for link in opened.find_elements("css selector", "a"):
            assert Path(unquote(urlsplit(link.get_attribute("href")).path)).is_file()
        driver.find_element("css selector", "#overlap-table tbody td:nth-child(5)").click()
        assert driver.find_elements("css selector", ".details") == []
        assert button.get_attribute("aria-expanded") == "false"
        assert page_errors(driver) == []


@needs_chromium
def test_outlines_are_shown_or_not(collection, tmp_path):
    report.write(*collection, tmp_path / "report.html")
    with chromium() as driver:
        driver.get((tmp_path / "report.html").as_uri())
        drawn = driver.find_element("css selector", ".largest .mosaic svg")
        assert drawn.is_displayed()
        driver.find_element("id", "outlines-0").click()
        assert not drawn.is_displayed()


@needs_chromium
def test_no_card_is_torn_in_print(collection, tmp_path):
    report.write(*collection, tmp_path / "report.html")
    with chromium(dark=True) as driver:
        driver.get((tmp_path / "report.html").as_uri())
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        torn = driver.execute_script(
            "return [...document.querySelectorAll('article, figure, tr')]"
            ".filter((one) => getComputedStyle(one).breakInside !== 'avoid').length"
        )
        assert torn == 0
        assert driver.execute_script("return getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)"
        )
        for name in ("nav", ".controls", ".pager"):
            assert not driver.find_element("css selector", name).is_displayed()


@needs_chromium
def test_every_control_is_reached_by_tab_and_shows_its_focus(collection, tmp_path):
    report.write(*collection, tmp_path / "report.html")
    with chromium() as driver:
        driver.get((tmp_path / "report.html").as_uri())
        seen = set()
        for _ in range(120):
            driver.switch_to.active_element.send_keys("\ue004")
            seen.add(
                driver.execute_script(
                    "const e = document.activeElement;"
                    "const ring = getComputedStyle(e).outlineStyle !== 'none';"
                    "const name = e.id || e.textContent.trim() || e.getAttribute('aria-label');"
                    "return ring ? name : 'no ring on ' + e.outerHTML"
                )
            )
        assert not [name for name in seen if name.startswith("no ring on") and "<body" not in name]
        assert {
            "Skip to the table of pairs",
            "outlines-0",
            "page",
            "filter-name",
            "filter-verdict",
            "score",
            "Contradictions",
        } <= seen


@needs_chromium
@pytest.mark.parametrize("width", [320, 390, 768, 844])
def test_nothing_sticks_out_on_a_narrow_screen(collection, tmp_path, width):
    report.write(*collection, tmp_path / "report.html")
    with chromium(width, 800) as driver:
        driver.get((tmp_path / "report.html").as_uri())
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width


@needs_chromium
def test_without_scripts_all_but_the_table_is_there(collection, tmp_path):
    report.write(*collection, tmp_path / "report.html")
    with chromium(javascript=False) as driver:
        driver.get((tmp_path / "report.html").as_uri())
        assert driver.find_element("css selector", "noscript p").is_displayed()
        assert driver.find_element("css selector", ".mosaic img").size["width"] > 100
