"""Which module of the weights an operation belongs to, by the leaves it multiplies."""

import copy
from collections.abc import Sequence
from typing import Any

from jax.extend import core

from dst_jax.jaxprs.calls import Called
from dst_jax.jaxprs.dataflow import Domain, NameStacks, followed
from dst_jax.jaxprs.hidden_products import is_hidden
from dst_jax.jaxprs.module_paths import Path
from dst_jax.jaxprs.product_operands import PRODUCTS, is_product

__all__ = ["owners"]

Origins = frozenset[int]
"""The arguments that a value depends on, by their number."""


def owners(program: Called, modules: Sequence[Path | None]) -> list[Path]:
    """The module whose leaves every convolution and matrix product multiplies.

    NNX and plain JAX write no module paths into a program, and Equinox only names of
    classes. The paths of the leaves say to which module a product belongs.

    Args:
      program: the jaxpr.
      modules: for every input of the jaxpr, the path of the module that holds it; None
        if it is no weight.

    Returns:
      A path for every product, and for every operation whose products are hidden, in
      order of execution; `()` where neither operand derives from the leaves of one
      module alone, or several do.

    >>> import jax
    >>> from dst_jax.jaxprs.calls import opened
    >>> program = opened(jax.make_jaxpr(lambda w, x: x @ w)(*[jax.numpy.eye(2)] * 2))
    >>> owners(program, [("fc",), None])
    [('fc',)]
    """
    found = _Owners(modules)
    followed(program, [frozenset({i}) for i in range(len(modules))], found)
    return found.paths


class _Owners(Domain[Origins]):
    """The result of an equation depends on what all of its operands depend on."""

    def __init__(self, modules: Sequence[Path | None]):
        self.paths: list[Path] = []
        self._modules = modules
        self._settled = True

    def constant(self, aval: Any) -> Origins:
        del aval
        return frozenset()

    def either(self, a: Origins, b: Origins) -> Origins:
        return a | b

    def tentative(self) -> "_Owners":
        """The same without recording."""
        other = copy.copy(self)
        other._settled = False
        return other

    def is_whole(self, eqn: core.JaxprEqn) -> bool:
        """Whether the products of an equation are hidden."""
        return not is_product(eqn) and is_hidden(eqn)

    def results(
        self, eqn: core.JaxprEqn, operands: Sequence[Origins], scope: NameStacks
    ) -> list[Origins]:
        del scope
        if self._settled and (is_product(eqn) or is_hidden(eqn)):
            of = operands
            if is_product(eqn):
                sides = PRODUCTS[eqn.primitive.name]
                of = [frozenset().union(*(operands[i] for i in side)) for side in sides]
            found = [path for path in map(self._module, of) if path]
            self.paths.append(found[0] if len(found) == 1 else ())
        return [frozenset().union(*operands)] * len(eqn.outvars)

    def _module(self, origins: Origins) -> Path:
        """The module that holds all leaves of a value; () if there is none."""
        paths = {self._modules[i] for i in origins}
        return (paths.pop() or ()) if len(paths) == 1 else ()
