"""``python tests/audit.py requirements.txt [--strict]``: known vulnerabilities of the pinned versions.

Asks the advisories of PyPI through pip-audit. A package that could not be looked up is counted as such and
never as safe. With ``--strict`` a known vulnerability ends with status 1; without, it is only shown: an
advisory of next year must not keep a newcomer from running the tests.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

TIMEOUT = 180
"""Seconds for all look-ups together; a machine without a network answers sooner."""


def look_up(requirements: str) -> list[dict[str, Any]]:
    """What pip-audit says of each pinned package; an empty list if it got no answer at all."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", requirements, "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return []
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return []
    return found


def judge(packages: list[dict[str, Any]]) -> tuple[list[str], int, int]:
    """Lines that name each vulnerability, packages that were looked up, and those that could not be."""
    asked = [package for package in packages if "skip_reason" not in package]
    lines = [
        f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for package in asked
        for vulnerability in package["vulns"]
    ]
    return lines, len(asked), len(packages) - len(asked)


def main(arguments: list[str] | None = None) -> int:
    """Print what is known; status 1 with ``--strict`` if that is any vulnerability."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("requirements")
    parser.add_argument(
        "--strict", action="store_true", help="exit status 1 if there is a known vulnerability"
    )
    options = parser.parse_args(arguments)
    lines, n_asked, n_unknown = judge(look_up(options.requirements))
    if n_asked == 0:
        print("Dependency audit: the advisories could not be reached; nothing was audited.")
    else:
        unknown = f"; {n_unknown} could not be looked up" if n_unknown else ""
        print(f"Dependency audit: {n_asked} packages looked up, {len(lines)} known vulnerabilities{unknown}.")
    print("\n".join(lines), end="\n" if lines else "")
    return int(options.strict and bool(lines))


if __name__ == "__main__":
    sys.exit(main())
