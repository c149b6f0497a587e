"""The recipes of docs/recipes.md that need a package of their own, run where the package is.

Those in plain Python are run with the other documents.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dupnet

ROOT = Path(__file__).parents[1]
RECIPES = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")


def recipe(heading: str) -> str:
    """The code under a heading."""
    section = re.split(r"^## ", RECIPES, flags=re.MULTILINE)
    found = next(part for part in section if part.startswith(heading))
    return "\n".join(re.findall(r"^```py\n(.*?)^```", found, flags=re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def found() -> dict[str, object]:
    result = dupnet.find_overlaps(ROOT / "data" / "sample" / "images", grid=256, report=False)
    return {"result": result, "splits": dupnet.split(result, seed=0)}


def test_torch(found: dict[str, object]) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    exec(recipe("PyTorch"), found)
    train, loader = found["train"], found["loader"]
    assert len(train) == (found["splits"]["split"] == "train").sum()  # type: ignore[arg-type, index]
    batch = next(iter(loader))  # type: ignore[call-overload]
    assert batch.shape == (4, 3, 768, 768) and 0 <= float(batch.min()) < float(batch.max()) <= 1


def test_fiftyone(found: dict[str, object]) -> None:
    pytest.importorskip("fiftyone", reason="FiftyOne is not installed")
    exec(recipe("FiftyOne"), found)
    splits, view = found["splits"], found["view"]
    assert len(view) == splits["group"].value_counts().iloc[0]  # type: ignore[arg-type, index]
    found["dataset"].delete()  # type: ignore[attr-defined]
