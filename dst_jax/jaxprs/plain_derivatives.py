"""Derivatives that are traced as the products they are, for whoever counts them.

A function may have a derivative of its own that is faster because it multiplies
elementwise. What counts products would not see these, so it asks for the others.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["are_derivatives_plain", "plain_derivatives"]

_PLAIN = ContextVar("plain_derivatives", default=False)


@contextmanager
def plain_derivatives() -> Iterator[None]:
    """A context in which derivatives of products are traced as products.

    What was traced before under a `jax.jit` of its own may be taken as it was.

    >>> with plain_derivatives():
    ...     are_derivatives_plain()
    True
    """
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def are_derivatives_plain() -> bool:
    """Whether `plain_derivatives` holds.

    >>> are_derivatives_plain()
    False
    """
    return _PLAIN.get()
