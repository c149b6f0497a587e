"""What is installed: exactly what is pinned, within the declared ranges, and under open licences."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import audit
import numpy as np
import pandas as pd
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from dupnet.commands import COMMANDS
from dupnet.files.extras import EXTRA_OF, attach
from dupnet.pairs.table import PAIR_COLUMNS

ROOT = Path(__file__).resolve().parents[1]
PINS = [
    Requirement(line)
    for line in (ROOT / "requirements.txt").read_text().splitlines()
    if line.strip() and not line.lstrip().startswith("#")
]
HERE = [pin for pin in PINS if pin.marker is None or pin.marker.evaluate()]

OPEN_LICENCES = re.compile(
    r"\b(apache|bsd|0bsd|mit|mit-cmu|expat|isc|iscl|mpl|mozilla|psf|python software|zlib|hpnd|unlicense|"
    r"public domain|cnri|lgpl)",
    re.IGNORECASE,
)
"""Licences whose works may be used by one under Apache-2.0; LGPL for what is linked at run time."""

KNOWN = {"namex": "Apache-2.0"}
"""A package whose metadata say nothing, with what its LICENSE file says."""


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    found = [Requirement(text) for texts in lists for text in texts]
    return [requirement for requirement in found if requirement.name != "dupnet"]


def licence(package: Distribution) -> str:
    metadata = package.metadata
    classifiers = [text for text in metadata.get_all("Classifier") or [] if text.startswith("License ::")]
    first_line = (metadata.get("License") or "").strip().splitlines()[:1]
    return " ".join([metadata.get("License-Expression") or "", *first_line, *classifiers])


def test_every_pin_is_exact() -> None:
    for pin in PINS:
        assert [clause.operator for clause in pin.specifier] == ["=="], str(pin)
        assert "*" not in str(pin.specifier)


def test_pins_lie_within_the_declared_ranges() -> None:
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in PINS}
    for requirement in declared():
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} is declared and not pinned: make requirements"
        assert requirement.specifier.contains(pinned[name]), f"{name} {pinned[name]} is outside {requirement}"


def test_what_runs_is_what_is_pinned() -> None:
    wrong = []
    for pin in HERE:
        try:
            installed = distribution(pin.name).version
        except PackageNotFoundError:
            installed = "missing"
        if not pin.specifier.contains(installed, prereleases=True):
            wrong.append(f"{pin.name}: {installed}, pinned {pin.specifier}")
    assert not wrong, "make setup installs requirements.txt: " + "; ".join(wrong)


@pytest.mark.parametrize("name", [pin.name for pin in HERE])
def test_licences_are_open(name: str) -> None:
    found = KNOWN.get(name) or licence(distribution(name))
    assert OPEN_LICENCES.search(found), f"{name}: {found!r}"


class TestAudit:
    """The audit never takes silence for safety."""

    @staticmethod
    def answer(monkeypatch: pytest.MonkeyPatch, packages: list[dict[str, Any]] | None) -> None:
        text = "no network" if packages is None else json.dumps({"dependencies": packages})
        done = subprocess.CompletedProcess([], 1, stdout=text, stderr="")
        monkeypatch.setattr(audit.subprocess, "run", lambda *args, **options: done)

    def test_a_vulnerability_is_named(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bad = {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
        self.answer(monkeypatch, [bad, {"name": "b", "version": "1", "vulns": []}])
        assert audit.main(["requirements.txt"]) == 0
        assert audit.main(["requirements.txt", "--strict"]) == 1
        assert "2 packages looked up, 1 known vulnerabilities" in capsys.readouterr().out

    @pytest.mark.parametrize("packages", [None, [], [{"name": "a", "skip_reason": "not found on PyPI"}]])
    def test_no_answer_is_said_to_be_none(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        packages: list[dict[str, Any]] | None,
    ) -> None:
        self.answer(monkeypatch, packages)
        assert audit.main(["requirements.txt", "--strict"]) == 0
        assert "nothing was audited" in capsys.readouterr().out

    def test_what_was_not_looked_up_is_counted(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.answer(
            monkeypatch, [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "?"}]
        )
        assert audit.main(["requirements.txt", "--strict"]) == 0
        assert "1 could not be looked up" in capsys.readouterr().out


def extras() -> dict[str, list[Requirement]]:
    lists = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return {name: [Requirement(text) for text in texts] for name, texts in lists.items()}


PACKAGE_OF = {"skimage": "scikit-image", "sklearn": "scikit-learn", "tensorflow": "tensorflow-cpu"}
"""Library to the package that brings it, where the names differ."""


def test_each_library_of_an_extra_is_in_the_extra_that_errors_name() -> None:
    core = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    in_core = {Requirement(text).name for text in core}
    for library, extra in EXTRA_OF.items():
        package = PACKAGE_OF.get(library, library)
        assert package in {requirement.name for requirement in extras()[extra]}, library
        assert package not in in_core, library


def test_all_is_every_extra_that_a_user_may_want() -> None:
    (everything,) = extras()["all"]
    assert everything.extras == set(extras()) - {"all", "bench", "docs", "test"}
    (tests, *_) = extras()["test"]
    assert tests.extras == {"all", "bench", "docs"}


WITHOUT_EXTRAS = f"""
import sys
from importlib.machinery import PathFinder

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sorted(EXTRA_OF)}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
from dupnet.commands.cli import main

for command in sys.argv[1].split("; "):
    status = main(command.split())
    print(f"status {{status}}: {{command}}", flush=True)
"""
"""Runs commands where no library of an extra can be imported."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("core") / "images"
    folder.mkdir()
    scene = np.random.default_rng(0).integers(60, 200, (768, 1280, 3), dtype=np.uint8)
    for name, left in (("a", 0), ("b", 256), ("c", 768)):
        Image.fromarray(scene[:512, left : left + 512]).save(folder / f"{name}.png")
    return folder


def run_without_extras(folder: Path, commands: list[str]) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, "-c", WITHOUT_EXTRAS, "; ".join(commands)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(script, cwd=folder, env=environment, capture_output=True, text=True, check=True)


def test_the_core_needs_no_extra(images: Path) -> None:
    folder = images.parent
    (folder / "labels.csv").write_text("image,label\na.png,x\nb.png,x\nc.png,y\n")
    commands = [
        "find images --out out --quiet",
        "find images --out out2 --grid 256 --quiet",
        "split out --ratios 0.5 0.5",
        "audit out/splits.csv out",
        "clean out",
        "labels labels.csv out",
        "tiles images --out tiles",
        "pairs out --out pairs --splits out/splits.csv",
    ]
    known = {command.__name__.rpartition(".")[2] for command in COMMANDS}
    commands = [command for command in commands if command.split()[0] in known]
    done = run_without_extras(folder, commands)
    wrong = [line for line in done.stdout.splitlines() if re.match("status [^0]", line)]
    assert not wrong, f"{wrong}\n{done.stderr}"
    assert done.stdout.count("status 0") == len(commands)
    assert (folder / "out" / "report.html").exists() and (folder / "pairs.csv").exists()
    assert not (folder / "out" / "overlaps.parquet").exists()


def test_what_needs_an_extra_says_which_in_one_line(images: Path) -> None:
    folder = images.parent
    run_without_extras(folder, ["find images --out out --quiet"])
    row = dict.fromkeys(PAIR_COLUMNS, 0) | {"image1": "a.png", "image2": "a.png", "split": "test"}
    pd.DataFrame([row | {"tile_size": 256}]).to_csv(folder / "pairs.csv", index=False)
    (folder / "pairs.parquet").write_bytes(b"PAR1")
    needs = {
        "train pairs.csv images --out run": "keras, which is not installed: pip install 'dupnet[train]'",
        "evaluate pairs.csv images": "sklearn, which is not installed: pip install 'dupnet[train]'",
        "train pairs.parquet images --out run": "pyarrow, which is not installed: pip install "
        "'dupnet[parquet]'",
        "review out --no-browser": "Flask: pip install 'dupnet[review]'",
        "find images --out out3 --grid 256 --scheduler tcp://a:1": "pip install 'dupnet[dask]'",
    }
    done = run_without_extras(folder, list(needs))
    assert done.stdout.count("status 2") == len(needs), done.stdout
    for line, (command, said) in zip(done.stderr.splitlines(), needs.items(), strict=True):
        assert line.startswith("dupnet: ") and said in line, f"{command}: {line}"


@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("from dupnet.network import load_model", "train"),
        ("from dupnet.training import train", "train"),
        ("from dupnet.evaluation import quality", "train"),
        ("from dupnet import figures", "notebooks"),
        ("from dupnet.cluster import find_on_cluster", "dask"),
        ("from dupnet.metrics import PAIR_METRICS as m; m['colour_difference'](tile, tile)", "metrics"),
        ("from dupnet.hashes import HASHES as h; h['perceptual_hash'](tile)", "metrics"),
    ],
)
def test_functions_that_need_an_extra_say_which(code: str, extra: str) -> None:
    script = WITHOUT_EXTRAS.partition("from dupnet")[0]
    script += f"import numpy as np\ntile = np.zeros((64, 64, 3), np.uint8)\n{code}\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("dupnet.files.extras.MissingExtra: ") and last.endswith(f"'dupnet[{extra}]'.")


def test_a_room_gives_what_its_modules_hold() -> None:
    found, listed, names = attach("dupnet.find", {"search": ["candidates"]})
    from dupnet.find.search import candidates

    assert found("candidates") is candidates
    assert names == ["candidates"] and "candidates" in listed()
    with pytest.raises(AttributeError, match="nothing"):
        found("nothing")
