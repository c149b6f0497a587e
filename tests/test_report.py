import base64
import hashlib
import html
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
from chromium import chromium, needs_chromium, page_errors, wait_for

from dupnet.find.overlaps import COLUMNS, REJECTED_COLUMNS, REVISIT_COLUMNS
from dupnet.find.results import GROUP_COLUMNS
from dupnet.report import page as report
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
    assert (
        "7 of the" in text and "images of /somewhere/chips share ground with another: a random split" in text
    )
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "base", "form")
        for name, value in attributes.items():
            assert not name.startswith("on") and name != "style"
            if name in ("src", "href", "srcset", "data"):
                assert value.startswith(("data:image/webp;base64,", "#")), (tag, name)
    assert "http://" not in text and "https://" not in text


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
    assert not any(tag == "img" and not a["src"].startswith("data:image/webp") for tag, a in page.tags)
    assert not any(tag == "b" for tag, _ in page.tags)
    assert "<img src=x onerror=hacked()>.png" in shown and "-rf {{ 7*7 }} .png" in shown
    assert "two\\nlines\\u202egnp.exe" in shown and "caf\\udce9.png" in shown
    names = json.loads(page.data)["names"]
    assert "<img src=x onerror=hacked()>.png" in names and len(names) == 8
    assert "<" not in page.data and ">" not in page.data and "&" not in page.data


def test_counts_tables_and_pictures_are_those_of_the_result(collection, monkeypatch):
    monkeypatch.setattr(report, "N_PAIRS", 3)
    result, folder = collection
    page = Page(report.render(result, folder))
    shown = " ".join(" ".join(page.text).split())
    assert (
        "images 8 duplicate overlaps 17 images that overlap another 7 tiles with nothing to judge by "
        "(solid and the like) 1,234 " in shown
    )
    assert "Group 5, mosaic 0: 8 images on 128 x 192 px" in shown
    assert "Searched: <i>everything</i>. Not searched: nothing." in shown
    table = json.loads(page.data)
    for name in ("y_offset", "x_offset", "height", "width", "n_tiles", "n_decidable", "verdict"):
        assert table[name] == result.overlaps[name].tolist()
    assert [table["names"][code] for code in table["image1"]][:3] == [
        name.replace("\n", "\\n").replace("\u202e", "\\u202e").replace("\x07", "\\x07")
        for name in result.overlaps["image1"][:3]
    ]
    expected = [None if np.isnan(score) else pytest.approx(score) for score in result.overlaps["score"]]
    assert table["score"] == expected
    pictures = [a["src"] for tag, a in page.tags if tag == "img"]
    assert len(pictures) == 1 + 3 * 3
    mosaic, *of_pairs = (decode(picture) for picture in pictures)
    assert mosaic.shape == (4 * SIZE, 6 * SIZE, 3)
    for one, two, difference in zip(of_pairs[::3], of_pairs[1::3], of_pairs[2::3], strict=True):
        assert one.shape == two.shape == difference.shape
        assert np.array_equal(one, two) and difference.max() <= 2


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
    assert rows_of(text, "revisits") == [[names[3], names[6], "17, -4", "79 x 92", "0.125"]]


def test_an_altered_overlap_says_what_differs(collection, monkeypatch):
    monkeypatch.setattr(report, "N_PAIRS", 1)
    result, folder = collection
    result.overlaps = result.overlaps.head(1).assign(verdict="altered", n_differing=2, overlap_tag="")
    shown = " ".join(" ".join(Page(report.render(result, folder)).text).split())
    row = result.overlaps.iloc[0]
    assert f"altered, score {row.score:.3f}" in shown
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
    drawn = report._key(*shapes, *offset)
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
    result.overlaps = many()
    added = len(report.render(result, folder)) - few
    assert added < 1_000_000
    # What the pictures may add at most: eight mosaics and 24 pairs of pure noise, which compresses worst.
    noise = np.random.default_rng(1).integers(
        0, 256, (report.MOSAIC_SIDE, report.MOSAIC_SIDE, 3), dtype=np.uint8
    )
    mosaic = len(report.data_uri(noise, ".webp", report.QUALITY))
    region = len(report.data_uri(noise[: report.REGION_SIDE, : report.REGION_SIDE], ".webp", report.QUALITY))
    assert few + added + 8 * mosaic + 24 * 3 * region < 20_000_000


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
            cells(driver, 1) + cells(driver, 2)
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
    report.write(result, folder, tmp_path / "report.html")
    with chromium() as driver:
        driver.get((tmp_path / "report.html").as_uri())
        assert "10,000 of 10,000 overlaps, page 1 of 200" in driver.find_element("id", "shown").text
        button = driver.find_element("css selector", "th[data-column=score] button")
        button.send_keys("\n")
        header = driver.find_element("css selector", "th[data-column=score]")
        assert header.get_attribute("aria-sort") == "ascending"
        assert cells(driver, 9) == [
            f"{score:.4f}" for score in table["score"].round(4).sort_values(kind="stable")[:50]
        ]
        button.send_keys(" ")
        assert header.get_attribute("aria-sort") == "descending"
        assert driver.find_elements("css selector", "th[aria-sort=ascending]") == []
        driver.find_element("css selector", "th[data-column=image2] button").click()
        ordered = table.sort_values("image2", kind="stable")
        assert cells(driver, 2) == ordered["image2"][:50].tolist()
        for _ in range(2):
            driver.find_element("id", "following").send_keys("\n")
        assert cells(driver, 2) == ordered["image2"][100:150].tolist()
        name = table["image1"][1234]
        driver.find_element("id", "filter-name").send_keys(name[:7].upper())
        with_name = table[table["image1"].str.contains(name[:7]) | table["image2"].str.contains(name[:7])]
        wait_for(driver, lambda d: len(cells(d, 1)) == len(with_name))
        driver.find_element("id", "filter-verdict").send_keys("undecidable")
        with_verdict = with_name[with_name["verdict"] == "undecidable"]
        wait_for(driver, lambda d: len(cells(d, 1)) == len(with_verdict))
        assert page_errors(driver) == []


@needs_chromium
def test_every_control_is_reached_by_tab_and_shows_its_focus(collection, tmp_path):
    report.write(*collection, tmp_path / "report.html")
    with chromium() as driver:
        driver.get((tmp_path / "report.html").as_uri())
        seen = set()
        for _ in range(60):
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
            "Skip to the table of overlaps",
            "show-grid",
            "filter-name",
            "filter-verdict",
            "score",
            "Contradictions",
        } <= seen


@needs_chromium
@pytest.mark.parametrize("width", [320, 390, 800])
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
