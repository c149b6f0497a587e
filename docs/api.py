"""The API page, built from the docstrings: ``python docs/api.py [FOLDER]`` (default: docs/api)."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import typing
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pdoc

import dupnet


def resolve_named_tuples(module: ModuleType) -> None:
    """Put types in the place of their names, which pdoc would look up in the standard library's namespace."""
    for member in vars(module).values():
        if isinstance(member, type) and issubclass(member, tuple) and member.__module__ == module.__name__:
            constructor: Any = member.__new__
            constructor.__annotations__ = typing.get_type_hints(member) | {"return": member}


def index(modules: list[ModuleType]) -> str:
    """Every module with what its docstring says first, as a list in Markdown."""
    told = ((module.__name__, (module.__doc__ or "").partition("\n\n")[0]) for module in modules)
    return "\n".join(f"- `{name}`: {' '.join(text.split())}" for name, text in told)


def main() -> int:
    """Build the page and print where it is."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "api"
    # A name that leads nowhere, or a page made twice, is an error here; what TensorFlow warns of is not ours.
    warnings.filterwarnings("error", module=r"(pdoc|dupnet)\b")
    # Names that the package imports on demand have to be there before pdoc looks for them.
    for name in dupnet.__all__:
        setattr(dupnet, name, getattr(dupnet, name))
    pdoc.render.configure(docformat="numpy", footer_text=f"DupNet {dupnet.__version__}", show_source=False)
    # pdoc follows __all__, which names no modules; so they are named here, once each.
    names = [module.name for module in pkgutil.walk_packages(dupnet.__path__, "dupnet.")]
    names.remove("dupnet.__main__")
    modules = [importlib.import_module(name) for name in names]
    # `figures` exports a function of the name of a module of its own, which pdoc therefore follows.
    followed = [f"{room.__name__}.{name}" for room in modules for name in getattr(room, "__all__", ())]
    for module in modules:
        resolve_named_tuples(module)
    dupnet.__doc__ = f"{dupnet.__doc__}\n\n{index(modules)}"
    pdoc.pdoc("dupnet", *(name for name in names if name not in followed), output_directory=folder)
    print(folder / "dupnet.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
