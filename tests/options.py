"""``python tests/options.py [COMMAND ...]``: whether a test notices each option that a command ignores.

Of each command every option in turn is set back to its default after the command line was read, as if it
were dropped on its way to what it is for; then the command's tests must fail. Each runs in a process of its
own, as the mutants of :mod:`mutation`. Writes ``benchmarks/results/options.csv``, and ends with status 1 if
an option was dropped unnoticed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import Any

from mutation import PROFILE, prepare
from reach import ROOT, limit, options, silence

RESULTS = ROOT / "benchmarks" / "results" / "options.csv"

TESTS = {
    "find": [
        "test_find_arguments",
        "test_options::TestFind",
        "test_wiring::TestFind",
        "test_audit_command::test_find_heeds_judgements",
        "test_changed_copies::TestCommands",
    ],
    "split": ["test_options::TestSplit", "test_wiring::TestSplit", "test_audit_command"],
    "audit": ["test_options::TestAudit", "test_audit_command", "test_changed_copies::TestCommands"],
    "clean": ["test_options::TestClean", "test_clean"],
    "labels": ["test_options::TestLabels", "test_labels_command"],
    "pairs": ["test_options::TestPairs", "test_wiring::TestPairsAndEvaluate"],
    "train": [
        "test_cli::test_every_option_of_train_reaches_the_training",
        "test_wiring::test_train",
    ],
    "evaluate": ["test_options::TestEvaluate", "test_wiring::TestPairsAndEvaluate"],
    "review": [
        "test_review::test_the_command_hands_on_what_it_is_told",
        "test_review::test_close_refusals_on_request",
        "test_review::test_tiles_are_scored_by_the_network_that_found_them",
        "test_wiring::TestReview",
    ],
    "tiles": ["test_find_arguments", "test_options::TestTiles", "test_wiring::TestTiles"],
    "data": ["test_options::TestData", "test_wiring::TestData"],
}
"""Commands, and the tests that are theirs: files, or parts of them as pytest names them, the quick ones
first."""

SECONDS = 120
"""Of processor time, until tests that do not end count as failed."""

NOTHING_TO_SAY = ("pairs", "train", "evaluate", "tiles", "data")
"""Commands that print every list whole: ``--verbose``, which all commands take, adds nothing there."""


def options_of(command: str) -> list[argparse.Action]:
    """The options of a command that can be left out."""
    from dupnet.commands import cli

    (commands,) = [
        action for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction)
    ]
    return [
        action
        for action in commands.choices[command]._actions
        if not action.required and not isinstance(action, argparse._HelpAction)
        if not (action.dest == "verbose" and command in NOTHING_TO_SAY)
    ]


def drop(command: str, name: str, default: object) -> None:
    """Have a command find the default in the place of what was said."""
    from dupnet.commands import cli

    read = cli._Parser.parse_args

    def parse_args(self: Any, *arguments: Any, **named: Any) -> Any:
        found = read(self, *arguments, **named)
        if found.command.__module__ == f"dupnet.commands.{command}":
            setattr(found, name, default)
        return found

    cli._Parser.parse_args = parse_args  # type: ignore[method-assign]


def is_noticed(command: str, name: str | None, default: object = None) -> bool:
    """Whether a test of the command fails where an option is dropped (None: where nothing is)."""
    child = os.fork()
    if child == 0:
        os._exit(_run(command, name, default))
    return os.waitpid(child, 0)[1] != 0


def _run(command: str, name: str | None, default: object) -> int:
    import pytest

    limit(SECONDS)
    silence()
    try:
        if name is not None:
            drop(command, name, default)
        named = (test.partition("::") for test in TESTS[command])
        tests = [f"{ROOT / 'tests' / file}.py{colons}{part}" for file, colons, part in named]
        return int(pytest.main([*options(), "-x", f"--hypothesis-profile={PROFILE}", *tests]))
    except BaseException:
        return 1


def main() -> int:
    """Drop every option of the commands, and write which were noticed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=f"of {', '.join(TESTS)} (all)")
    chosen = parser.parse_args().commands or list(TESTS)
    prepare()
    import pandas as pd

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    missed = 0
    for command in chosen:
        if is_noticed(command, None):
            print(f"{command}: its tests fail as it is", file=sys.stderr)
            return 2
        rows = []
        for action in options_of(command):
            start = time.perf_counter()
            noticed = is_noticed(command, action.dest, action.default)
            name = action.option_strings[-1] if action.option_strings else str(action.metavar)
            rows.append((command, name, noticed))
            said = "noticed" if noticed else "NOT NOTICED"
            print(f"{command} {name}: {said} ({time.perf_counter() - start:.0f} s)", flush=True)
        table = pd.DataFrame(rows, columns=["command", "option", "noticed"])
        missed += int((~table["noticed"]).sum())
        if RESULTS.exists():
            known = pd.read_csv(RESULTS)
            table = pd.concat([known[known["command"] != command], table])
        table = table.sort_values("command", kind="stable")
        table.to_csv(RESULTS, index=False, lineterminator="\n")
    print(f"{missed} dropped options were not noticed: {RESULTS.name}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
