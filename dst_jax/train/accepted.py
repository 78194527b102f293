"""Arguments that a function may or may not take."""

import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["accepted"]


def accepted(fn: Callable[..., Any], **offered: Any) -> dict[str, Any]:
    """The offered arguments that a function takes.

    >>> accepted(lambda x, *, seed: x, seed=1, kernels=None)
    {'seed': 1}
    >>> accepted(lambda x, **options: x, seed=1)
    {'seed': 1}
    """
    parameters = inspect.signature(fn).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return offered
    return {name: value for name, value in offered.items() if name in parameters}
