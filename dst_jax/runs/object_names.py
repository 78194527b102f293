"""How a run's record names a class or a function."""

import sys
from pathlib import Path
from typing import Any

__all__ = ["name_of"]


def name_of(made: Any) -> str:
    """The `module:attribute` that `checks.resolve` finds a class or a function by.

    What a program defines that is started as a file is named by the file, which a
    later program can import from the same directory.

    Args:
      made: class or function; of any other object its class is named.

    >>> name_of(print)
    'builtins:print'
    """
    if not hasattr(made, "__qualname__"):
        made = type(made)
    module = made.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        if spec is not None:
            module = spec.name
        elif file is not None and Path(file).stem.isidentifier():
            module = Path(file).stem
    return f"{module}:{made.__qualname__}"
