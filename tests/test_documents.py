"""The documents: links lead somewhere, numbers are those of the results, examples and commands run."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import unicodedata
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import nbformat
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "data/**/*.md", "docs/*.md", "notebooks/**/*.md", "benchmarks/**/*.md")
    for path in ROOT.glob(pattern)
    if "raw" not in path.parts and "processed" not in path.parts
)
NOTEBOOKS = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("notebooks/**/*.ipynb"))

RUN_ELSEWHERE = {
    "make run": "CI's counterpart is tests/test_notebooks.py with tests/test_cli.py",
    "make test": "this is what runs now",
    "make train": "tests/test_recipe.py",
    "make tune": "tests/test_recipe.py",
    "make bench": "tests/test_accuracy_benchmark.py",
    "make soak": "tests/test_kills.py",
    "make test-distributed": "tests/test_distributed.py",
    "dask": "tests/test_distributed.py",
    "make notebooks": "tests/test_notebooks.py",
    "make figures": "tests/test_notebooks.py",
    "make docs": "tests/test_documents.py",
    "make coverage": "tests",
    "python -m benchmarks": "tests/test_accuracy_benchmark.py",
    "python notebooks/run.py": "tests/test_notebooks.py",
    "python data/build_sample.py": "tests/test_sample.py",
    "dupnet review": "tests/test_review.py",
    "dupnet audit FOLDER": "tests/test_audit_command.py",
    "dupnet split FOLDER": "tests/test_audit_command.py",
    "dupnet clean FOLDER": "tests/test_audit_command.py",
    "dupnet data": "tests/test_sources.py",
    "dupnet train": "tests/test_cli.py",
    "dupnet evaluate": "tests/test_cli.py",
    "dupnet find IMAGES": "tests/test_cli.py",
    "dupnet find s3://": "tests/test_distributed.py",
    "jupyter": "an editor's command",
    "pip install": "pyproject.toml is installed by every run of CI",
    "git clone": "how this repository came here",
    "cd ": "how one enters it",
    "kaggle": "needs an account",
}
"""Commands that take long, need the network or a person, by their start, and what runs in their place."""


def load_tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("document_tables", ROOT / "docs" / "tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tables = load_tables()


def text_of(name: str) -> str:
    """The markdown of a document or of a notebook's cells."""
    if name.endswith(".ipynb"):
        cells = nbformat.read(ROOT / name, as_version=4).cells
        return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return (ROOT / name).read_text(encoding="utf-8")


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(
        r"^#{1,6} (.+?)\s*$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.MULTILINE
    ):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        kept = "".join(
            letter for letter in plain if letter in " -_" or unicodedata.category(letter)[0] in "LN"
        )
        slug = kept.replace(" ", "-")
        names.add(f"{slug}-{found[slug]}" if slug in found else slug)
        found[slug] = found.get(slug, 0) + 1
    return names


def links(text: str) -> list[str]:
    plain = without_code(text)
    found = re.findall(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)", plain)
    return found + re.findall(r"(?:src|href)=\"([^\"]+)\"", plain)


@pytest.mark.parametrize("name", DOCUMENTS + NOTEBOOKS)
def test_links_lead_somewhere(name: str) -> None:
    for link in links(text_of(name)):
        if re.match(r"[a-z]+:", link):
            assert link.startswith(("https://", "mailto:")), link
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), f"{name}: {link} leads nowhere"
        assert target.resolve().is_relative_to(ROOT), f"{name}: {link} leaves the repository"
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{name}: no heading #{anchor}"


@pytest.mark.parametrize("name", [name for name in tables.DOCUMENTS if (ROOT / name).exists()])
def test_numbers_are_those_of_the_results(name: str) -> None:
    text = text_of(name)
    assert tables.up_to_date(text) == text, f"{name} is behind its results: make tables"


class TestTables:
    """The marks themselves, on a table of their own."""

    @pytest.fixture(autouse=True)
    def results(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        table = pd.DataFrame(
            {"signal": ["a hash", "net"], "n": [1200, 3], "share": [0.12345, 1.0], "gap": [float("nan"), 2.0]}
        )
        table.to_csv(tmp_path / "r.csv", index=False)
        (tmp_path / "part.md").write_text("| x |\n|---|\n| 1 |\n\n")
        monkeypatch.setattr(tables, "ROOT", tmp_path)
        tables.read.cache_clear()

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("0.5<!-- r.csv signal=net share .2f -->", "1.00<!-- r.csv signal=net share .2f -->"),
            ("<!-- r.csv signal=net share .2f -->", "1.00<!-- r.csv signal=net share .2f -->"),
            (
                "**9<!-- r.csv signal=a_hash share .1p --> %**",
                "**12.3<!-- r.csv signal=a_hash share .1p --> %**",
            ),
            (
                "of 7<!-- r.csv signal=a_hash,n=1200 n ,d -->.",
                "of 1,200<!-- r.csv signal=a_hash,n=1200 n ,d -->.",
            ),
        ],
    )
    def test_a_number_is_replaced_and_nothing_else(self, before: str, after: str) -> None:
        assert tables.up_to_date(f"In 2019 {before} of 3") == f"In 2019 {after} of 3"
        assert tables.up_to_date(after) == after

    def test_a_table_is_written_anew(self) -> None:
        mark = "<!-- table r.csv | signal | n ,d pairs in all | share .1p | gap .1f -->\n"
        body = "| signal | pairs in all | share | gap |\n| --- | ---: | ---: | ---: |\n"
        body += "| a hash | 1,200 | 12.3 |  |\n| net | 3 | 100.0 | 2.0 |\n"
        assert tables.up_to_date(f"{mark}old\n<!-- end -->\n") == f"{mark}{body}<!-- end -->\n"

    def test_rows_of_a_table_are_selected(self) -> None:
        found = tables.up_to_date("<!-- table r.csv signal=a_hash | n -->\n<!-- end -->")
        assert found.splitlines()[1:-1] == ["| n |", "| ---: |", "| 1200 |"]
        found = tables.up_to_date("<!-- table r.csv signal=net,a_hash | n -->\n<!-- end -->")
        assert found.splitlines()[3:-1] == ["| 1200 |", "| 3 |"]

    def test_a_file_is_taken_in(self) -> None:
        assert tables.up_to_date("<!-- include part.md -->\n<!-- end -->") == (
            "<!-- include part.md -->\n| x |\n|---|\n| 1 |\n<!-- end -->"
        )

    @pytest.mark.parametrize(
        ("mark", "message"),
        [
            ("1<!-- q.csv a=b c d -->", "no such result table"),
            ("1<!-- r.csv signal=other n d -->", "0 rows"),
            ("1<!-- r.csv signal=net size d -->", "has the columns signal, n, share, gap"),
            ("1<!-- r.csv name=net n d -->", "has the columns"),
        ],
    )
    def test_a_mark_that_leads_nowhere_is_an_error(self, mark: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            tables.up_to_date(mark)


def blocks(name: str, *languages: str) -> list[str]:
    found = re.findall(r"^```(\w+)\n(.*?)^```", text_of(name), re.MULTILINE | re.DOTALL)
    return [body for language, body in found if language in languages]


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if blocks(name, "python")])
def test_python_examples_run(name: str, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text("\n".join(blocks(name, "python")))
    for part in ("data", "notebooks", "dupnet"):
        (tmp_path / part).symlink_to(ROOT / part)
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def commands(name: str) -> list[str]:
    lines = []
    for body in blocks(name, "sh", "bash", "shell", "console"):
        joined = body.replace("\\\n", " ")
        lines += [line.removeprefix("$ ").partition("  #")[0].strip() for line in joined.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if commands(name)])
def test_commands_are_known(name: str) -> None:
    from dupnet.commands import cli

    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in commands(name):
        words = shlex.split(command)
        while "=" in words[0]:  # VARIABLE=value before the command
            words = words[1:]
        if words[0] == "make":
            asked = {word for word in words[1:] if "=" not in word and not word.startswith("-")}
            assert asked <= targets, command
        elif words[0] == "dupnet":
            cli._parser().parse_args(words[1:])
        elif words[:2] == ["python", "-m"]:
            assert (
                importlib.util.find_spec(words[2]) is not None or (ROOT / words[2].replace(".", "/")).exists()
            )
        elif words[0] == "python":
            assert (ROOT / words[1]).is_file(), command
        else:
            assert command.startswith(tuple(RUN_ELSEWHERE)), f"{command}: neither run nor known"


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if commands(name)])
def test_commands_run(name: str, tmp_path: Path) -> None:
    for part in ("data", "notebooks", "dupnet", "docs"):
        (tmp_path / part).symlink_to(ROOT / part)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in commands(name):
        if not command.startswith(tuple(RUN_ELSEWHERE)):
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=tmp_path,
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=600,  # not a measure: a command that waits for ever must not hold up the others
            )
            assert done.returncode == 0, f"{command}\n{done.stderr[-2000:]}"


def test_what_is_run_elsewhere_is_there() -> None:
    for where in RUN_ELSEWHERE.values():
        for test in re.findall(r"tests/\w+\.py", where):
            assert (ROOT / test).exists(), test


def test_the_api_page_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "docs/api.py", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "Warn" not in done.stderr, done.stderr[-2000:]
    page = (tmp_path / "dupnet" / "tiles.html").read_text()
    assert "split_tiles" in page and "_enumerate_overlaps" not in page
    first = (tmp_path / "dupnet.html").read_text()
    assert 'id="compare"' in first
    modules = {path.relative_to(ROOT).with_suffix("") for path in (ROOT / "dupnet").rglob("[a-z]*.py")}
    assert len(modules) > 60
    assert all(f'href="{module.as_posix()}.html"' in first for module in modules)


def test_the_short_example_is_a_part_of_the_whole_one() -> None:
    spec = importlib.util.spec_from_file_location("example", ROOT / "docs" / "example.py")
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    whole = example.PAGE.read_text(encoding="utf-8")
    short = example.SHORT.read_text(encoding="utf-8")
    assert short == example.short(whole)
    assert "Leak: " in short and set(short.splitlines()) - {"..."} <= set(whole.splitlines())
