"""What is installed: exactly what is pinned, within the declared ranges, and under open licences."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import audit
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
