"""Every option of every command does what its help says: each test here fails when its option is dropped.

All run the command line on small images whose overlaps are known, and look at what the command leaves behind.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import webbrowser
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dupnet.acquisitions import cut_collection
from dupnet.commands import cli
from dupnet.find.groups import MAX_STACK

SIZE = 64
"""Side of a tile here, the smallest that can be judged."""

TILES = ["--tile-size", str(SIZE)]

THREADS = 23
"""A number that no default gives."""

Run = Callable[..., str]


def acquisition(seed: int, height: int = 6 * SIZE, width: int = 6 * SIZE) -> np.ndarray:
    """Smooth coloured texture (height, width, 3) uint8."""
    noise = np.random.default_rng(seed).standard_normal((height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return np.clip(np.rint(110 + 25 * smooth / smooth.std()), 0, 255).astype(np.uint8)


def cut(folder: Path, seed: int, n_images: int | None, image_size: int = 2 * SIZE) -> pd.DataFrame:
    """Cut an acquisition of its own into ``folder/images``; its true overlaps."""
    picture = acquisition(seed)
    options = {"image_size": image_size, "stride": SIZE, "seed": seed, "prefix": f"{seed}-"}
    return cut_collection(picture, folder, n_images=n_images, **options).truth  # type: ignore[arg-type]


def overlaps(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "overlaps.csv", dtype={"overlap_tag": str})


def images_of(folder: Path) -> list[str]:
    return pd.read_csv(folder / "groups.csv")["image"].tolist()


def pairs_of(table: pd.DataFrame) -> set[tuple[str, str]]:
    return set(table[["image1", "image2"]].itertuples(index=False, name=None))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """``run(argument, ..., status=0)`` runs ``dupnet`` and returns what it printed, errors last."""

    def command(*arguments: object, status: int = 0) -> str:
        capsys.readouterr()
        found = cli.main([os.fspath(one) if isinstance(one, Path) else str(one) for one in arguments])
        said = capsys.readouterr()
        assert found == status, said.err
        return said.out + said.err

    return command


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> set[int | None]:
    """The sizes of all thread pools that are started."""
    seen: set[int | None] = set()
    start = ThreadPoolExecutor.__init__

    def recorded(
        self: ThreadPoolExecutor, max_workers: int | None = None, *rest: object, **more: object
    ) -> None:
        seen.add(max_workers)
        start(self, max_workers, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(ThreadPoolExecutor, "__init__", recorded)
    return seen


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Two collections of 128 px images, ``one`` and ``other``; ``out`` is what ``find`` made of ``one``."""
    folder = tmp_path_factory.mktemp("wiring")
    truth = cut(folder / "one", 1, 7)
    cut(folder / "other", 2, 4)
    one, other, out = folder / "one" / "images", folder / "other" / "images", folder / "out"
    assert cli.main(["find", str(one), "--out", str(out), "--quiet", *TILES]) == 0
    assert pairs_of(overlaps(out)) == pairs_of(truth)
    return SimpleNamespace(one=one, other=other, out=out, truth=truth)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``find`` made of thirty images of one tile that overlap none."""
    folder = tmp_path_factory.mktemp("alone")
    for number in range(30):
        picture = acquisition(100 + number, SIZE, SIZE)
        (folder / "images").mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / "images" / f"{number:02d}.png")
    command = ["find", str(folder / "images"), "--out", str(folder / "out"), "--quiet", "--no-report"]
    assert cli.main([*command, *TILES]) == 0
    return folder / "out"


class TestFind:
    def test_tile_size(self, found: SimpleNamespace, tmp_path: Path, run: Run) -> None:
        """Of tiles as large as the images only equal images share one."""
        run("find", found.one, "--out", tmp_path / "out", "--quiet", "--tile-size", 2 * SIZE)
        assert overlaps(tmp_path / "out").empty

    def test_grid(self, tmp_path: Path, run: Run) -> None:
        """Off the grid an overlap is found only where no grid is named."""
        picture, images = acquisition(8, 5 * SIZE, 4 * SIZE), tmp_path / "images"
        images.mkdir()
        for name, top in (("a", 0), ("b", SIZE // 2 + 5)):
            Image.fromarray(picture[top : top + 4 * SIZE]).save(images / f"{name}.png")
        for options, n_overlaps in ((["--grid", SIZE], 0), ([], 1)):
            out = tmp_path / f"out{n_overlaps}"
            run("find", images, "--out", out, "--quiet", *options)
            assert len(overlaps(out)) == n_overlaps

    def test_all_pairs(self, tmp_path: Path, run: Run) -> None:
        """Of very many copies of one image a part of the pairs says all; every pair is there if asked for."""
        images, n_images = tmp_path / "images", MAX_STACK + 4
        images.mkdir()
        Image.fromarray(acquisition(9, 4 * SIZE, 4 * SIZE)).save(images / "0.png")
        for number in range(1, n_images):
            (images / f"{number}.png").write_bytes((images / "0.png").read_bytes())
        counts = []
        for options in ([], ["--all-pairs"]):
            out = tmp_path / f"out{len(counts)}"
            run("find", images, "--out", out, "--quiet", "--no-report", *options)
            counts.append(len(overlaps(out)))
        assert counts[0] < counts[1] == n_images * (n_images - 1) // 2

    def test_stride(self, tmp_path: Path, run: Run) -> None:
        picture, images = acquisition(3), tmp_path / "images"
        images.mkdir()
        for name, top in (("a", 0), ("b", SIZE // 2)):
            Image.fromarray(picture[top : top + 2 * SIZE, : 2 * SIZE]).save(images / f"{name}.png")
        for options, n_overlaps in (([], 0), (["--stride", SIZE // 2], 1)):
            out = tmp_path / f"out{n_overlaps}"
            run("find", images, "--out", out, "--quiet", *TILES, *options)
            assert len(overlaps(out)) == n_overlaps

    def test_add(self, found: SimpleNamespace, tmp_path: Path, run: Run) -> None:
        command = ("find", found.one, "--out", tmp_path / "out", "--quiet", "--no-report", *TILES)
        run(*command)
        more = ("find", found.other, *command[2:])
        run(*more, status=2)
        run(*more, "--add")
        assert set(images_of(tmp_path / "out")) == set(os.listdir(found.one)) | set(os.listdir(found.other))

    def test_against(self, found: SimpleNamespace, tmp_path: Path, run: Run) -> None:
        new = tmp_path / "new"
        new.mkdir()
        copied = sorted(os.listdir(found.one))[:3]
        for name in copied:
            (new / f"copy-{name}").write_bytes((found.one / name).read_bytes())
        run("find", new, "--out", tmp_path / "out", "--quiet", *TILES, "--against", found.one)
        table = overlaps(tmp_path / "out")
        assert len(table) >= len(copied)
        assert (table["image1"].str.startswith("copy-") ^ table["image2"].str.startswith("copy-")).all()

    def test_check_content(self, found: SimpleNamespace, tmp_path: Path, run: Run) -> None:
        """A file that changed and kept its size and time is noticed only where bytes are compared."""
        images = tmp_path / "images"
        images.mkdir()
        pixels = [acquisition(4, 2 * SIZE, 2 * SIZE), acquisition(5, 2 * SIZE, 2 * SIZE)]

        def write(name: str, picture: np.ndarray) -> None:
            Image.fromarray(picture).save(images / name, compression=None)
            os.utime(images / name, ns=(10**18, 10**18))

        for out, options in (("trusting", []), ("checking", ["--check-content"])):
            write("a.tif", pixels[0])
            write("b.tif", pixels[1])
            command = ("find", images, "--out", tmp_path / out, "--quiet", "--no-report", *TILES, *options)
            run(*command)
            write("b.tif", pixels[0])
            run(*command)
            assert len(overlaps(tmp_path / out)) == len(options)

    def test_no_report(self, found: SimpleNamespace, tmp_path: Path, run: Run) -> None:
        command = ("find", found.one, "--out", tmp_path / "out", "--quiet", *TILES)
        assert "report.html" in run(*command)
        assert (tmp_path / "out" / "report.html").exists() and any((tmp_path / "out" / "mosaics").iterdir())
        assert "report.html" not in run(*command, "--no-report")
        assert not (tmp_path / "out" / "report.html").exists() and not (tmp_path / "out" / "mosaics").exists()

    def test_quiet(
        self, found: SimpleNamespace, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        command = ("find", found.one, "--no-report", *TILES, "--out")
        assert "describe" in run(*command, tmp_path / "loud")
        assert "describe" not in run(*command, tmp_path / "quiet", "--quiet")

    def test_workers(
        self, found: SimpleNamespace, tmp_path: Path, run: Run, threads: set[int | None]
    ) -> None:
        command = ("find", found.one, "--out", tmp_path / "out", "--quiet", *TILES, "--workers", THREADS)
        run(*command, "--no-report")
        assert threads == {THREADS}

    def test_scheduler(self, found: SimpleNamespace, tmp_path: Path, run: Run) -> None:
        command = ("find", found.one, "--out", tmp_path / "out", "--quiet", *TILES, "--scheduler", "nowhere")
        assert "'nowhere' is no address" in run(*command, status=2)
        for option in (["--check-content"], ["--workers", "2"]):
            assert "--scheduler excludes" in run(*command, *option, status=2)

    def test_tables_are_written_anew_before_a_run_counts_as_finished(
        self, found: SimpleNamespace, tmp_path: Path, run: Run
    ) -> None:
        """Stopped while it writes, a run leaves no new tables beside an old record."""
        command = ("find", found.one, "--out", tmp_path / "out", "--quiet", "--no-report", *TILES)
        run(*command)
        assert (tmp_path / "out" / "run.json").exists()

        (tmp_path / "out" / "groups.csv").unlink()
        (tmp_path / "out" / "groups.csv").mkdir()  # where the table cannot be written
        run(*command, status=2)
        assert "no finished run" in run("split", tmp_path / "out", status=2)

    def test_mosaics_of_an_earlier_run_go(self, found: SimpleNamespace, tmp_path: Path, run: Run) -> None:
        images = tmp_path / "images"
        images.mkdir()
        for name in os.listdir(found.one):
            (images / name).write_bytes((found.one / name).read_bytes())
        (images / "0.png").write_bytes((found.one / name).read_bytes())
        command = ("find", images, "--out", tmp_path / "out", "--quiet", *TILES)
        run(*command)
        before = set(os.listdir(tmp_path / "out" / "mosaics"))
        for name in os.listdir(images):
            if name != "0.png":
                Image.fromarray(acquisition(abs(hash(name)) % 10**6, 2 * SIZE, 2 * SIZE)).save(images / name)
        run(*command)
        assert before and not os.listdir(tmp_path / "out" / "mosaics")


class TestSplit:
    def test_seed(self, alone: Path, run: Run) -> None:
        seen = []
        for seed in (0, 1, 0):
            run("split", alone, "--seed", seed)
            seen.append((alone / "splits.csv").read_bytes())
        assert seen[0] == seen[2] != seen[1]

    def test_ratios(self, alone: Path, run: Run) -> None:
        for ratios in ((0.5, 0.5), (0.8, 0.1, 0.1)):
            run("split", alone, "--ratios", *ratios)
            counts = pd.read_csv(alone / "splits.csv")["split"].value_counts()
            assert sorted(counts) == sorted(round(30 * ratio) for ratio in ratios)

    def test_names(self, alone: Path, run: Run) -> None:
        run("split", alone, "--ratios", 0.5, 0.5, "--names", "left", "right")
        assert set(pd.read_csv(alone / "splits.csv")["split"]) == {"left", "right"}

    def test_stratify_and_column(self, alone: Path, tmp_path: Path, run: Run) -> None:
        images = images_of(alone)
        table = pd.DataFrame({"image": images, "even": [number % 2 for number in range(30)]})
        table["early"] = [int(number < 6) for number in range(30)]
        table.to_csv(tmp_path / "strata.csv", index=False)
        command = ("split", alone, "--ratios", 0.5, 0.5)
        assert "Share of each stratum" not in run(*command)
        shares = {}
        for column in ([], ["--column", "early"]):
            said = run(*command, "--stratify", tmp_path / "strata.csv", *column)
            shares[tuple(column)] = said.split("Share of each stratum in each split:")[1]
        assert "even" in shares[()] and "early" in shares["--column", "early"]
        splits = pd.read_csv(alone / "splits.csv")["split"].to_numpy()
        assert sorted(np.unique(splits[:6], return_counts=True)[1]) == [3, 3]


class TestTiles:
    def test_tile_size(self, found: SimpleNamespace, tmp_path: Path, run: Run) -> None:
        run("tiles", found.one, "--out", tmp_path / "tiles", *TILES)
        assert len(os.listdir(tmp_path / "tiles")) >= 4 * len(os.listdir(found.one))

    def test_quality(self, found: SimpleNamespace, tmp_path: Path, run: Run) -> None:
        sizes = []
        for options in (["--quality", 20], [], ["--quality", 100]):
            out = tmp_path / f"tiles{len(sizes)}"
            run("tiles", found.one, "--out", out, *TILES, *options)
            sizes.append(sum(path.stat().st_size for path in out.glob("*.jpg")))
        assert sizes == sorted(set(sizes))

    def test_workers(
        self, found: SimpleNamespace, tmp_path: Path, run: Run, threads: set[int | None]
    ) -> None:
        run("tiles", found.one, "--out", tmp_path / "tiles", *TILES, "--workers", THREADS)
        assert threads == {THREADS}


class TestData:
    @pytest.fixture
    def picture(self, tmp_path: Path) -> Path:
        Image.fromarray(acquisition(6)).save(tmp_path / "large.png")
        return tmp_path / "large.png"

    def test_sizes_number_and_folder(self, picture: Path, tmp_path: Path, run: Run) -> None:
        out = tmp_path / "out"
        sizes = ("--image-size", 2 * SIZE, "--stride", SIZE)
        run("data", "cut", picture, "--out", out, *sizes, "--n-images", 5)
        table = pd.read_csv(out / "images.csv")
        assert len(table) == len(os.listdir(out / "images")) == 5
        assert {Image.open(path).size for path in (out / "images").iterdir()} == {(2 * SIZE, 2 * SIZE)}
        assert pd.read_csv(out / "truth.csv")["n_tiles"].max() == 2  # of 2 x 2
        assert "smaller than one crop" in run("data", "cut", picture, "--out", tmp_path / "large", status=2)
        run(
            "data", "cut", picture, "--out", tmp_path / "wide", "--image-size", 2 * SIZE, "--stride", 2 * SIZE
        )
        assert len(pd.read_csv(tmp_path / "wide" / "images.csv")) == 9

    def test_seed_and_hard(self, picture: Path, tmp_path: Path, run: Run) -> None:
        tables = {}
        for name, options in {"plain": [], "seed": ["--seed", 1], "hard": ["--hard"]}.items():
            command = ("data", "cut", picture, "--out", tmp_path / name, "--image-size", 2 * SIZE)
            run(*command, "--stride", SIZE, "--n-images", 10, *options)
            tables[name] = pd.read_csv(tmp_path / name / "images.csv")
        assert set(tables["plain"]["image"]).isdisjoint(tables["seed"]["image"])
        assert tables["plain"]["quality"].nunique() == 1 < tables["hard"]["quality"].nunique()
        assert set(tables["plain"]["day"]) == {1} and set(tables["hard"]["day"]) == {1, 2}

    def test_workers(self, picture: Path, tmp_path: Path, run: Run, threads: set[int | None]) -> None:
        command = ("data", "cut", picture, "--out", tmp_path / "out", "--image-size", 2 * SIZE)
        run(*command, "--stride", SIZE, "--workers", THREADS)
        assert threads == {THREADS}

    def test_raw(self, picture: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is fetched lies in that folder; the registry alone is a stand-in."""
        from dupnet.acquisitions import sources

        def download(*_: object) -> Path:
            return picture

        def extract(_: Path, targets: dict[str, Path]) -> None:
            for target in targets.values():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(picture.read_bytes())

        monkeypatch.setattr(sources, "download_package", download)
        monkeypatch.setattr(sources, "extract", extract)
        command = ("data", "kitsap", "--raw", tmp_path / "fetched", "--out", tmp_path / "out")
        run(*command, "--image-size", 2 * SIZE, "--stride", SIZE, "--n-images", 2)
        assert (tmp_path / "fetched" / "kitsap" / "SOURCE.txt").exists()
        assert len(os.listdir(tmp_path / "out" / "images")) == 2


class TestReview:
    @pytest.fixture(autouse=True)
    def opened(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Addresses that were opened in the browser; the server is interrupted as soon as it serves."""
        import werkzeug.serving

        def interrupted(_: object) -> None:
            raise KeyboardInterrupt

        seen: list[str] = []
        monkeypatch.setattr(werkzeug.serving.ThreadedWSGIServer, "serve_forever", interrupted)
        monkeypatch.setattr(webbrowser, "open", seen.append)
        monkeypatch.setattr("threading.Thread.start", lambda thread: thread.run())
        return seen

    def test_port(self, found: SimpleNamespace, run: Run) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        assert f"http://127.0.0.1:{port}/" in run("review", found.out, "--no-browser", "--port", port)

    def test_no_browser(self, found: SimpleNamespace, run: Run, opened: list[str]) -> None:
        run("review", found.out, "--no-browser")
        assert opened == []
        said = run("review", found.out)
        token = said.split("token=")[1].split()[0]
        assert len(opened) == 1 and opened[0].startswith("file:") and token not in opened[0]

    def test_judgements_and_export(self, found: SimpleNamespace, tmp_path: Path, run: Run) -> None:
        answers = tmp_path / "answers.csv"
        assert str(answers) in run("review", found.out, "--no-browser", "--judgements", answers)
        row = overlaps(found.out).iloc[0]
        with answers.open("a") as file:
            offset = f"{row.overlap_tag},{row.y_offset},{row.x_offset}"
            file.write(f"2026-01-01T00:00:00+00:00,{row.image1},{row.image2},{offset},duplicate,\n")
        command = ("review", found.out, "--export", tmp_path / "labels.csv", "--judgements", answers)
        assert "1 labels written" in run(*command)
        assert len(pd.read_csv(tmp_path / "labels.csv")) == 1

    def test_images(self, found: SimpleNamespace, tmp_path: Path, run: Run) -> None:
        table = tmp_path / "pairs.csv"
        overlaps(found.out).to_csv(table, index=False)
        command = ("review", table, "--no-browser", *TILES)
        assert "name their folder (--images)" in run(*command, status=2)
        assert "Judge the pairs at" in run(*command, "--images", found.one)

    def test_tile_size(self, found: SimpleNamespace, tmp_path: Path, run: Run) -> None:
        table = tmp_path / "pairs.csv"
        overlaps(found.out)[["image1", "image2", "overlap_tag"]].to_csv(table, index=False)
        command = ("review", table, "--no-browser", "--images", found.one)
        assert "(--tile-size)" in run(*command, status=2)
        assert "Judge the pairs at" in run(*command, *TILES)


@pytest.fixture(scope="module")
def all_test(found: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The option of ``pairs`` by which every image is in the split ``test``."""
    path = tmp_path_factory.mktemp("splits") / "splits.csv"
    pd.DataFrame({"image": sorted(os.listdir(found.one)), "split": "test"}).to_csv(path, index=False)
    return ["--splits", str(path)]


@pytest.fixture(scope="module")
def table(found: SimpleNamespace, all_test: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    assert cli.main(["pairs", str(found.out), "--out", str(path), *all_test]) == 0
    return path


@pytest.fixture(scope="module")
def labels(found: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    columns = ["image1", "image2", "overlap_tag", "is_duplicate"]
    found.truth[columns].to_csv(path, index=False)
    return path


class TestPairsAndEvaluate:
    def test_rows(self, found: SimpleNamespace, all_test: list[str], tmp_path: Path, run: Run) -> None:
        for rows in (4, 6):
            run("pairs", found.out, "--out", tmp_path / f"{rows}", *all_test, "--rows", rows)
            assert len(pd.read_csv(tmp_path / f"{rows}.csv")) == rows

    def test_seed(self, found: SimpleNamespace, all_test: list[str], tmp_path: Path, run: Run) -> None:
        written = []
        for seed in (0, 1, 0):
            out = tmp_path / f"{len(written)}"
            run("pairs", found.out, "--out", out, *all_test, "--rows", 6, "--seed", seed)
            written.append(out.with_suffix(".csv").read_bytes())
        assert written[0] == written[2] != written[1]

    def test_splits_and_ratios(
        self, found: SimpleNamespace, all_test: list[str], tmp_path: Path, run: Run
    ) -> None:
        command = ("pairs", found.out, "--out")
        run(*command, tmp_path / "given", *all_test)
        assert set(pd.read_csv(tmp_path / "given.csv")["split"]) == {"test"}
        images, counts = tmp_path / "images", []
        images.mkdir()
        for seed in range(10, 18):  # eight groups of about as many images
            cut(tmp_path / f"part{seed}", seed, 3)
            for path in (tmp_path / f"part{seed}" / "images").iterdir():
                path.rename(images / path.name)
        run("find", images, "--out", tmp_path / "out", "--quiet", "--no-report", *TILES)
        command = ("pairs", tmp_path / "out", "--out")
        for ratios in ((0.6, 0.2, 0.2), (0.2, 0.2, 0.6)):
            run(*command, tmp_path / f"{len(counts)}", "--ratios", *ratios)
            counts.append(pd.read_csv(tmp_path / f"{len(counts)}.csv")["split"].value_counts())
        assert counts[0].idxmax() == "train" and counts[1].idxmax() == "test"

    def test_workers(
        self, found: SimpleNamespace, all_test: list[str], tmp_path: Path, run: Run, threads: set[int | None]
    ) -> None:
        run("pairs", found.out, "--out", tmp_path / "a", *all_test, "--workers", THREADS)
        assert threads == {THREADS}

    def test_threshold(self, found: SimpleNamespace, table: Path, labels: Path, run: Run) -> None:
        """At 0 every pair is called a duplicate, at 1 next to none."""
        for source in ([table, found.one], ["--labels", labels, found.one]):
            command = ("evaluate", *source, *TILES, "--threshold")
            every, none = run(*command, 0), run(*command, 1)
            assert "threshold 0\n" in every and "threshold 1\n" in none
            assert every.split("\n", 1)[1] != none.split("\n", 1)[1]
        recall = next(line.split() for line in run("evaluate", table, found.one, *TILES, "--threshold", 0)
                      .splitlines() if line.split()[:1] == ["recall"])  # fmt: skip
        assert float(recall[1]) == 1

    def test_split(self, found: SimpleNamespace, table: Path, tmp_path: Path, run: Run) -> None:
        pairs = pd.read_csv(table)
        pairs["split"] = ["test" if number % 3 else "train" for number in range(len(pairs))]
        pairs.to_csv(tmp_path / "pairs.csv", index=False)
        command = ("evaluate", tmp_path / "pairs.csv", found.one, *TILES)
        assert f"{(pairs['split'] == 'test').sum()} pairs of split 'test'" in run(*command)
        said = run(*command, "--split", "train")
        assert f"{(pairs['split'] == 'train').sum()} pairs of split 'train'" in said

    def test_tile_size(self, found: SimpleNamespace, table: Path, labels: Path, run: Run) -> None:
        """A table knows the side of its tiles, labels do not."""
        run("evaluate", table, found.one, "--tile-size", 2 * SIZE, status=2)
        run("evaluate", "--labels", labels, found.one, status=2)
        run("evaluate", "--labels", labels, found.one, *TILES)

    def test_workers_of_evaluate(
        self, found: SimpleNamespace, table: Path, labels: Path, run: Run, threads: set[int | None]
    ) -> None:
        for source in ([table, found.one], ["--labels", labels, found.one]):
            threads.clear()
            run("evaluate", *source, *TILES, "--workers", THREADS)
            assert THREADS in threads

    def test_labels_and_out(self, found: SimpleNamespace, labels: Path, tmp_path: Path, run: Run) -> None:
        said = run("evaluate", "--labels", labels, found.one, *TILES, "--out", tmp_path / "out")
        assert f"{len(found.truth)} labelled overlaps" in said
        assert len(pd.read_csv(tmp_path / "out" / "judged.csv")) == len(found.truth)
        counts = pd.read_csv(tmp_path / "out" / "counts.csv").set_index("label")
        assert counts.loc["all", "n"] == len(found.truth)

    def test_model(self, found: SimpleNamespace, table: Path, labels: Path, tmp_path: Path, run: Run) -> None:
        """A network that was never trained finds less than the shipped one."""
        import keras

        from dupnet.network.models import DupnetV0Config, build, save_model

        keras.utils.set_random_seed(0)
        model = build(DupnetV0Config(tile_size=SIZE, filters=(2,), dense_units=2))
        save_model(model, tmp_path / "untrained.keras")
        for source in ([table, found.one], ["--labels", labels, found.one]):
            command = ("evaluate", *source, *TILES, "--threshold", 0.9)
            assert run(*command) != run(*command, "--model", tmp_path / "untrained.keras")


def test_train(tmp_path: Path, run: Run, threads: set[int | None]) -> None:
    """What a run was told stands in its record, and it trained no longer than that."""
    picture = acquisition(7, 1024, 768)
    cut_collection(picture, tmp_path, n_images=6, image_size=512)
    images, out = tmp_path / "images", tmp_path / "out"
    run("find", images, "--out", out, "--quiet", "--no-report", "--tile-size", 256)
    splits = pd.DataFrame({"image": sorted(os.listdir(images)), "split": "train"})
    splits.to_csv(tmp_path / "splits.csv", index=False)
    run("pairs", out, "--out", tmp_path / "pairs", "--splits", tmp_path / "splits.csv")
    pairs = pd.read_csv(tmp_path / "pairs.csv")
    pairs["split"] = np.where(np.arange(len(pairs)) % 3, "train", "validation")
    pairs.to_csv(tmp_path / "pairs.csv", index=False)
    numbers = {"epochs": 2, "batch_size": 4, "rows_per_epoch": 8, "seed": 5}
    options = [word for name, value in numbers.items() for word in (f"--{name.replace('_', '-')}", value)]
    command = ("train", tmp_path / "pairs.csv", images, "--out", tmp_path / "run", "--model", "dupnet_v0")
    assert "val_loss" in run(*command, *options, "--workers", THREADS)
    record = json.loads((tmp_path / "run" / "train.json").read_text())["config"]
    assert {name: record[name] for name in numbers} == numbers
    assert record["model"]["architecture"] == "dupnet_v0"
    assert len(pd.read_csv(tmp_path / "run" / "history.csv")) == 2
    assert THREADS in threads
