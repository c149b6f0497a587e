"""Which tests run which lines of the package: what ``tests/mutation.py`` chooses its tests by.

Each file of tests is run once under coverage, in a process of its own; what it reached is kept in
``.coverage_reach/`` until the file changes. Lines are kept as their text, so that they are still known where
lines were put in above them. What a fixture of a whole module runs counts for all tests of the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import signal
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

KEPT = ROOT / ".coverage_reach"

LEFT_OUT = ("test_notebooks",)
"""Files whose tests take minutes each."""

SECONDS = 200
"""Of processor time, that a file of tests may take under coverage."""

BYTES = 12 * 2**30
"""Memory that tests may ask for."""

WHOLE_FILE = ""
"""The context of lines that all tests of a file depend on."""


def options() -> list[str]:
    """What pytest is told where its output does not matter."""
    chosen = ("-q", "--tb=no", "-m", "not soak and not distributed")
    return [*chosen, *(f"-p{plugin}" for plugin in ("no:cacheprovider", "_hypothesis_pytestplugin"))]


def limit(seconds: float) -> None:
    """Limit the processor time that this process may take from now on, and its memory."""
    # Not by the clock, for beside other work all takes long; the clock is for a test that waits for ever.
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.alarm(20 * round(seconds))
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))


def silence() -> None:
    """Drop what this process prints."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


class Reach:
    """The tests that run a line, and what each of them takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._tests: dict[str, dict[str, set[str]]] = {}
        for path in sorted((ROOT / "tests").glob("test_*.py")):
            if path.stem not in LEFT_OUT:
                self._add(f"tests/{path.name}", _reach_of(path))

    def _add(self, file: str, found: dict[str, Any]) -> None:
        self.seconds.update(found["seconds"])
        for module, lines in found["lines"].items():
            known = self._tests.setdefault(module, {})
            for text, contexts in lines.items():
                names = found["seconds"] if WHOLE_FILE in contexts else contexts
                known.setdefault(text, set()).update(names)

    def tests(self, module: str, lines: list[str]) -> list[str]:
        """Names of the tests that run one of the lines; of all that run the module, where none does.

        Those of ``test_<module>`` come first, then of files that import the module, then of quick files.
        """
        known = self._tests.get(module, {})
        found = set().union(*(known.get(line, ()) for line in lines)) or set().union(*known.values())
        room, _, name = module.rpartition(".")
        imported = re.compile(rf"dupnet\.{re.escape(module)}\b|dupnet\.{room} import .*\b{name}\b")
        files: dict[str, list[str]] = {}
        for test in sorted(found, key=self.seconds.__getitem__):
            files.setdefault(test.partition("::")[0], []).append(test)

        def rank(file: str) -> tuple[bool, bool, float]:
            is_named = imported.search((ROOT / file).read_text(encoding="utf-8")) is not None
            whole = sum(taken for test, taken in self.seconds.items() if test.startswith(f"{file}::"))
            return file != f"tests/test_{name}.py", not is_named, whole

        return list(chain.from_iterable(files[file] for file in sorted(files, key=rank)))


def _reach_of(path: Path) -> dict[str, Any]:
    """The lines that a file's tests run, as kept or as found now."""
    kept = KEPT / f"{path.stem}.json"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if kept.exists() and (found := json.loads(kept.read_text(encoding="utf-8")))["digest"] == digest:
        return dict(found)
    KEPT.mkdir(exist_ok=True)
    if (child := os.fork()) == 0:
        try:
            limit(SECONDS)
            silence()
            found = {"digest": digest, **_run_under_coverage(path)}
            kept.write_text(json.dumps(found), encoding="utf-8")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    found = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {"digest": ""}
    if found["digest"] != digest:
        print(f"{path.name} did not end under coverage; its tests are not used", file=sys.stderr)
        return {"seconds": {}, "lines": {}}
    print(f"{path.name}: {sum(found['seconds'].values()):.1f} s", flush=True)
    return dict(found)


class _Contexts:
    """Tells coverage which test runs, and notes what each takes."""

    def __init__(self, coverage: Any) -> None:
        self.coverage = coverage
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self._test = WHOLE_FILE

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._test = item.nodeid
        self.coverage.switch_context(self._test)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        if fixturedef.scope != "function":
            self.coverage.switch_context(WHOLE_FILE)
        result = yield
        self.coverage.switch_context(self._test)
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration
        if not report.passed:
            self.failed.add(report.nodeid)


def _run_under_coverage(path: Path) -> dict[str, Any]:
    import coverage

    measured = coverage.Coverage(data_file=None, config_file=False, source=[str(ROOT / "dupnet")])
    contexts = _Contexts(measured)
    measured.start()
    pytest.main([*options(), str(path)], plugins=[contexts])
    measured.stop()
    data = measured.get_data()
    lines: dict[str, dict[str, list[str]]] = {}
    for file in (file for file in data.measured_files() if file.endswith(".py")):  # no templates
        module = ".".join(Path(file).relative_to(ROOT / "dupnet").with_suffix("").parts)
        texts = Path(file).read_text(encoding="utf-8").splitlines()
        known = lines.setdefault(module, {})
        for line, names in data.contexts_by_lineno(file).items():
            text = texts[line - 1].strip()
            known[text] = sorted({*known.get(text, ()), *names} - contexts.failed)
    seconds = {test: taken for test, taken in contexts.seconds.items() if test not in contexts.failed}
    return {"seconds": seconds, "lines": lines}
