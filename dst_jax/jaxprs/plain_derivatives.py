"""Derivatives that are traced as the products they are, for whoever counts them.

A function may have a derivative of its own that is faster because it multiplies
elementwise. What counts products would not see these, so it asks for the others.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import jax

__all__ = ["are_derivatives_plain", "plain_derivatives"]

# A context of JAX's is part of the key of its caches: a function that was traced under
# a `jax.jit` of its own is traced again where the context differs.
_PLAIN = jax.make_user_context(default_value=False)


@contextmanager
def plain_derivatives() -> Iterator[None]:
    """A context in which derivatives of products are traced as products.

    >>> with plain_derivatives():
    ...     are_derivatives_plain()
    True
    """
    with _PLAIN(True):
        yield


def are_derivatives_plain() -> bool:
    """Whether `plain_derivatives` holds.

    >>> are_derivatives_plain()
    False
    """
    return _PLAIN.value
