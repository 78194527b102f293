"""Derivatives that are traced as the products they are, for whoever counts them.

A function may have a derivative of its own that is faster because it multiplies
elementwise. What counts products would not see these, so it asks for the others, and
refuses programs in which they are all the same, because they were traced before.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import jax
from jax.extend import core

__all__ = [
    "are_derivatives_plain",
    "elementwise_derivative",
    "is_elementwise_derivative",
    "plain_derivatives",
]

_SCOPE = "elementwise_derivative"

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


def elementwise_derivative() -> AbstractContextManager[object]:
    """A scope in which multiplications stand for those of a product.

    >>> with elementwise_derivative():
    ...     float(jax.numpy.float32(2) * 3)
    6.0
    """
    return jax.named_scope(_SCOPE)


def is_elementwise_derivative(eqn: core.JaxprEqn) -> bool:
    """Whether an equation multiplies in the scope of `elementwise_derivative`.

    >>> def square(x):
    ...     with elementwise_derivative():
    ...         return x * x
    >>> program = jax.make_jaxpr(jax.jit(jax.grad(square)))(3.0)
    >>> inner = program.eqns[0].params["jaxpr"]
    >>> {e.primitive.name for e in inner.eqns if is_elementwise_derivative(e)}
    {'mul'}
    """
    return eqn.primitive.name == "mul" and _SCOPE in str(eqn.source_info.name_stack)
