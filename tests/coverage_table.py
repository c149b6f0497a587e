"""``python tests/coverage_table.py JSON CSV``: the shares that ``coverage json`` counted, by module."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd


def table(report: dict[str, Any]) -> pd.DataFrame:
    """Columns ``module, lines, branches, share_of_lines, share_of_branches``; first the row ``all``."""
    files = {"all": report["totals"]}
    files |= {name: counts["summary"] for name, counts in sorted(report["files"].items())}
    rows = [
        (
            name.removeprefix("dupnet/"),
            counts["num_statements"],
            counts["num_branches"],
            counts["covered_lines"] / max(counts["num_statements"], 1),
            counts["covered_branches"] / counts["num_branches"] if counts["num_branches"] else 1.0,
        )
        for name, counts in files.items()
        if counts["num_statements"]
    ]
    return pd.DataFrame(rows, columns=["module", "lines", "branches", "share_of_lines", "share_of_branches"])


if __name__ == "__main__":
    shares = table(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))).round(4)
    shares.to_csv(sys.argv[2], index=False, lineterminator="\n")
    print(shares.head(1).to_string(index=False))
