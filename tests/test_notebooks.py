"""Every notebook: committed as a reader should find it, and run top to bottom on a part of the sample."""

from __future__ import annotations

import ast
import base64
import importlib.util
import re
import shutil
from functools import cache
from pathlib import Path
from types import ModuleType

import nbformat
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
NAMES = sorted(
    path.relative_to(NOTEBOOKS).with_suffix("").as_posix()
    for path in NOTEBOOKS.glob("**/*.ipynb")
    if ".ipynb_checkpoints" not in path.parts
)

KEPT_ACQUISITIONS = ("kitsap-4", "kitsap-8", "synthetic-sea-0", "synthetic-sea-2")
"""The small part: an acquisition with a border, one cut hard, and two at sea with a second day."""

SMALLER: dict[str, dict[str, object]] = {
    "audit_a_split": {"N_LABELLINGS": 5},
    "hard_pairs": {"N_TRAIN": 200, "N_VALIDATION": 100},
    "train_dupnet": {"N_TRAIN": 300, "N_VALIDATION": 200, "EPOCHS": 2},
    "decision_tree": {"N_VARIANTS": 1},
    "leak_free_split": {"N_PLACES": 8, "N_SPLITS": 4},
}
"""Parameters that make a notebook small where fewer images alone do not."""

SCREENSHOTS = {"report_desktop", "report_phone", "review_desktop", "review_phone"}
"""Figures that ``tests/screenshots.py`` takes; all others are a notebook's."""

MAX_CELL_LINES, MAX_NOTEBOOK_LINES, MAX_BYTES = 25, 150, 1_000_000


def load_runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notebook_runner", NOTEBOOKS / "run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


runner = load_runner()


@cache
def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def saved_figures(name: str) -> list[str]:
    """The names under which a notebook's source saves figures."""
    trees = [ast.parse(cell.source) for cell in code_cells(read(name))]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    saves = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "save"]
    for call in saves:
        assert isinstance(call.args[1], ast.Constant), f"{name}: give figures.save the name as a literal"
    return [str(call.args[1].value) for call in saves]


class TestCommitted:
    """What the reader sees before running anything."""

    @pytest.mark.parametrize("name", NAMES)
    def test_opens_with_a_question_and_its_end_leads_on(self, name: str) -> None:
        cells = read(name).cells
        assert cells[0].cell_type == cells[-1].cell_type == "markdown"
        title = cells[0].source.splitlines()[0]
        assert title.startswith("# ") and "?" in cells[0].source
        links = re.findall(r"\]\(([^)#:]+)", cells[-1].source)
        assert links, "the last cell names no notebook or document to go on with"
        for link in links:
            assert (NOTEBOOKS / f"{name}.ipynb").parent.joinpath(link).exists(), link

    @pytest.mark.parametrize("name", NAMES)
    def test_one_parameters_cell_with_seed_and_images(self, name: str) -> None:
        tagged = [cell for cell in read(name).cells if "parameters" in cell.metadata.get("tags", [])]
        assert len(tagged) == 1
        for parameter in ("SEED", "IMAGES"):
            assert re.search(rf"^{parameter} = ", tagged[0].source, re.MULTILINE)

    @pytest.mark.parametrize("name", NAMES)
    def test_the_first_lines_say_what_it_needs_and_how_long_it_takes(self, name: str) -> None:
        title, _, rest = read(name).cells[0].source.partition("\n\n")
        assert title.startswith("# ") and re.match(
            r"\*Needs .* (seconds?|minutes?|minute and a half|half a minute) on", rest
        )
        first = code_cells(read(name))[0].source
        assert 'find_spec("dupnet") is None' in first
        place = re.search(r'"install --quiet ([./]+)\[all\]"', first)
        assert place is not None
        assert (NOTEBOOKS / f"{name}.ipynb").parent.joinpath(place[1]).resolve() == ROOT

    @pytest.mark.parametrize("name", NAMES)
    def test_cells_are_short(self, name: str) -> None:
        lengths = [len(cell.source.splitlines()) for cell in code_cells(read(name))]
        assert max(lengths) <= MAX_CELL_LINES
        assert sum(lengths) <= MAX_NOTEBOOK_LINES

    @pytest.mark.parametrize("name", NAMES)
    def test_executed_in_order_without_an_error(self, name: str) -> None:
        cells = code_cells(read(name))
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
        for cell in cells:
            for output in cell.outputs:
                assert output.output_type != "error"
                assert output.get("execution_count", cell.execution_count) == cell.execution_count

    @pytest.mark.parametrize("name", NAMES)
    def test_outputs_are_small_and_name_no_machine(self, name: str) -> None:
        path = NOTEBOOKS / f"{name}.ipynb"
        assert path.stat().st_size < MAX_BYTES
        texts = re.sub(r'"image/png": "[^"]*"', "", path.read_text())
        assert not re.search(r"(?<![\w.])/(root|home|work|tmp|Users)/", texts)
        assert runner.tidy(nbformat.from_dict(read(name))) == read(name)

    @pytest.mark.parametrize("name", NAMES)
    def test_shows_the_figures_that_are_committed(self, name: str) -> None:
        shown = {
            base64.b64decode(output.data["image/png"])
            for cell in code_cells(read(name))
            for output in cell.outputs
            if "image/png" in output.get("data", {})
        }
        for figure in saved_figures(name):
            committed = (NOTEBOOKS / "figures" / f"{figure}.png").read_bytes()
            assert committed in shown, f"{figure}.png is not what {name} shows: run the notebook again"

    def test_each_figure_has_one_maker(self) -> None:
        makers = [figure for name in NAMES for figure in saved_figures(name)]
        assert len(makers) == len(set(makers))
        committed = {path.stem for path in (NOTEBOOKS / "figures").glob("*.png")}
        assert committed == {*makers, *SCREENSHOTS}

    def test_the_course_lists_every_notebook(self) -> None:
        assert runner.order() == list(runner.ORDER)
        readme = (NOTEBOOKS / "README.md").read_text()
        listed = re.findall(r"\]\(([\w/]+)\.ipynb\)", readme)
        assert listed == list(runner.ORDER)


@pytest.fixture(scope="module")
def small_sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sample = ROOT / "data" / "sample"
    small = tmp_path_factory.mktemp("small-sample")
    (small / "images").mkdir()
    table = pd.read_csv(sample / "images.csv")
    kept = table[table["acquisition"].isin(KEPT_ACQUISITIONS)]
    for image in kept["image"]:
        shutil.copy(sample / "images" / image, small / "images")
    truth = pd.read_csv(sample / "truth.csv", dtype=str)
    known = truth["image1"].isin(kept["image"]) & truth["image2"].isin(kept["image"])
    kept.to_csv(small / "images.csv", index=False)
    truth[known].to_csv(small / "truth.csv", index=False)
    return small


@pytest.mark.parametrize("name", NAMES)
def test_runs_and_rebuilds_its_figures(name: str, small_sample: Path, tmp_path: Path) -> None:
    folder = runner.workspace(tmp_path, sample=small_sample)
    cwd = (folder / name).parent
    cwd.mkdir(exist_ok=True)
    notebook = runner.execute(NOTEBOOKS / f"{name}.ipynb", SMALLER.get(name), cwd=cwd)
    assert all(cell.execution_count for cell in code_cells(notebook))
    made = {path.stem for path in (folder / "figures").glob("*.png")}
    assert made == set(saved_figures(name))
    tables = {path.stem for path in (folder / "results").glob("*.csv")}
    committed = {path.stem for path in (NOTEBOOKS / "results").glob("*.csv")}
    assert {figure for figure in made if figure in committed} <= tables


NEW_USER = """
import numpy as np
from dupnet import compare, figures
from dupnet.augment import hls_shift, jpeg
from dupnet.hashes import HASHES
from dupnet.images import list_images, read_image
from dupnet.tiles import split_tiles
tiles = split_tiles(read_image(f"{IMAGES}/{list_images(IMAGES)[0]}"))
again = hls_shift(jpeg(tiles[4], 85), hue=5)
print(HASHES["md5"].between(tiles[4], again), *compare(tiles[[4, 4]], np.stack([again, tiles[5]])).verdict)
figures.save(figures.show_tiles([tiles[4], again, tiles[5]], ["tile", "again", "next"]), "my_pair")
"""


def test_a_new_users_notebook_of_ten_lines(tmp_path: Path) -> None:
    lines = NEW_USER.strip().splitlines()
    assert len(lines) == 10
    folder = runner.workspace(tmp_path)
    parameters = nbformat.v4.new_code_cell('IMAGES = "../data/sample/images"')
    parameters.metadata["tags"] = ["parameters"]
    cells = [parameters, nbformat.v4.new_code_cell(NEW_USER.strip())]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "mine.ipynb")
    notebook = runner.execute(folder / "mine.ipynb")
    text, picture = notebook.cells[1].outputs
    assert text.text == "1.0 duplicate not_duplicate\n"
    assert base64.b64decode(picture.data["image/png"]) == (folder / "figures" / "my_pair.png").read_bytes()


class TestRunner:
    """``notebooks/run.py`` itself."""

    def test_make_run_writes_nothing_that_is_committed(self) -> None:
        recipes = dict(
            re.findall(r"^([a-z-]+):.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
        )
        commands = [line for line in recipes["run"].splitlines() if "$(PYTHON)" in line or "$(BIN)" in line]
        assert commands and all(re.search(r"--(output|out) output\b", line) for line in commands)
        assert "--output" not in recipes["notebooks"]
        ignored = (ROOT / ".gitignore").read_text().split()
        assert {"/output/", "/runs/", "/data/raw/", "/data/processed/"} <= set(ignored)

    @staticmethod
    def write(path: Path, *sources: str, parameters: str = "SEED = 0") -> Path:
        first = nbformat.v4.new_code_cell(parameters)
        first.metadata["tags"] = ["parameters"]
        cells = [first, *(nbformat.v4.new_code_cell(source) for source in sources)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return path

    def test_parameters_are_set_after_the_tagged_cell(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a.ipynb", "print(SEED)")
        notebook = runner.execute(path, {"SEED": 7})
        assert notebook.cells[2].outputs[0].text == "7\n"
        assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3]

    def test_unknown_parameters_are_refused(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a.ipynb")
        with pytest.raises(ValueError, match="sets SEED; it has no EPOCHS"):
            runner.execute(path, {"EPOCHS": 1})

    def test_a_notebook_without_the_tag_is_refused(self, tmp_path: Path) -> None:
        nbformat.write(nbformat.v4.new_notebook(), tmp_path / "a.ipynb")
        with pytest.raises(ValueError, match='No cell is tagged "parameters"'):
            runner.execute(tmp_path / "a.ipynb", {"SEED": 1})

    def test_an_error_stops_the_run(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a.ipynb", "1 / 0", "open('after', 'w')")
        with pytest.raises(runner.CellExecutionError, match="ZeroDivisionError"):
            runner.execute(path)
        assert not (tmp_path / "after").exists()

    def test_tidy_drops_what_changes_from_run_to_run(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a.ipynb", "import sys; sys.stderr.write('50%'); object()")
        notebook = runner.execute(path)
        assert notebook.cells[1].outputs[0].data["text/plain"] == "<object>"
        assert len(notebook.cells[1].outputs) == 1
        assert "execution" not in notebook.cells[1].metadata
        assert "version" not in notebook.metadata.language_info

    def test_times_are_kept_in_the_order_of_the_course(self, tmp_path: Path) -> None:
        path = tmp_path / "results" / "run_times.csv"
        runner.write_times({"train_dupnet": 200, "eda/solid_tiles": 7}, path)
        assert path.read_text() == "notebook,seconds\neda/solid_tiles,7\ntrain_dupnet,200\nall,207\n"
        runner.write_times({"eda/tile_overlap": 3, "train_dupnet": 190, "mine": 1}, path)
        rows = ["eda/tile_overlap,3", "eda/solid_tiles,7", "train_dupnet,190", "mine,1", "all,201"]
        assert path.read_text().splitlines()[1:] == rows

    def test_a_workspace_shares_the_data_but_not_what_is_made_from_it(self, tmp_path: Path) -> None:
        sample = tmp_path / "mine"
        sample.mkdir()
        folder = runner.workspace(tmp_path / "space", sample=sample)
        assert folder == tmp_path / "space" / "notebooks"
        assert (tmp_path / "space/data/sample").resolve() == sample
        assert (tmp_path / "space/data/persistent").resolve() == ROOT / "data" / "persistent"
        assert not (tmp_path / "space/data/processed").exists()

    @pytest.mark.parametrize(
        ("text", "expected"),
        [("SEED=3", ("SEED", 3)), ("NAME=some text", ("NAME", "some text")), ("A=[1, 2]", ("A", [1, 2]))],
    )
    def test_assignments(self, text: str, expected: tuple[str, object]) -> None:
        assert runner._assignment(text) == expected
        assert runner._assignment(f"IMAGES={ROOT}")[1] == str(ROOT)
        with pytest.raises(SystemExit, match="expected NAME=VALUE"):
            runner._assignment("3=4")
