"""Names that a package imports on first use, so that importing the package costs nothing."""

import importlib
from collections.abc import Callable


def lazily(package: str, **names: str) -> Callable[[str], object]:
    """Return the `__getattr__` of a package.

    Args:
        package: its `__name__`.
        names: submodule, with `__` for a dot -> the names that it provides, with blanks between.
    """
    home = {name: module.replace("__", ".") for module, some in names.items() for name in some.split()}

    def get(name: str) -> object:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{home[name]}"), name)

    return get
