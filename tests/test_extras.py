"""What is missing is named with the extra that brings it."""

from __future__ import annotations

import pytest

from dupnet.files.extras import MissingExtra, extra


@pytest.mark.parametrize(("library", "brought_by"), [("skimage.metrics", "metrics"), ("distributed", "dask")])
def test_an_absent_library_of_an_extra_is_named(library: str, brought_by: str) -> None:
    with pytest.raises(MissingExtra, match=rf"pip install 'dupnet\[{brought_by}\]'"), extra():
        raise ModuleNotFoundError(f"No module named {library!r}", name=library)


@pytest.mark.parametrize("name", ["nowhere", None])
def test_another_absent_library_is_an_error_as_it_is(name: str | None) -> None:
    with pytest.raises(ModuleNotFoundError, match="No module"), extra():
        raise ModuleNotFoundError("No module", name=name)
