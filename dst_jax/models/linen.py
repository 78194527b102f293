"""Flax Linen modules as models: functions of variables and an input."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
from jaxtyping import Array

from dst_jax.activations import apply_with_activations
from dst_jax.typing import Model, Variables

__all__ = ["Linen", "as_model"]


@dataclass(frozen=True, eq=False)
class Linen:
    """A Linen module as a `Model`.

    In training all collections but the parameters may change; in evaluation none does.
    Activation maps are those of the module's taps; what nobody reads of them costs
    nothing in a jitted function.

    Attributes:
      module: called with the input, and with `train` if its `__call__` has an argument
        of that name. Two models are equal if their modules are; a module that cannot
        be hashed, because it holds an array, is equal to itself only.

    >>> import jax, jax.numpy as jnp
    >>> model = Linen(nn.Dense(3))
    >>> variables = model.init(jax.random.key(0), jnp.ones((1, 2)))
    >>> outputs, maps, updated = model(variables, jnp.ones((5, 2)))
    >>> outputs.shape, maps, updated
    ((5, 3), OrderedDict(), {})
    """

    module: nn.Module

    def init(self, key: Array, example: Array) -> dict[str, Any]:
        """Fresh variables, for inputs like `example`.

        >>> import jax
        >>> import jax.numpy as jnp
        >>> variables = Linen(nn.Dense(3)).init(jax.random.key(0), jnp.ones((1, 2)))
        >>> variables["params"]["kernel"].shape
        (2, 3)
        """
        return dict(self.module.init(key, example, **self._options(train=False)))

    def __call__(
        self,
        variables: Variables,
        x: Array,
        *,
        train: bool = False,
        rngs: Mapping[str, Array] | None = None,
    ) -> tuple[Any, Mapping[str, Array], Variables]:
        """The outputs, the map at every tap and the updated collections."""
        changing = [name for name in variables if name != "params"] if train else []
        return apply_with_activations(
            self.module,
            variables,
            x,
            mutable=changing,
            rngs=rngs,
            **self._options(train=train),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Linen) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> object:
        try:
            hash(self.module)
        except TypeError:
            return id(self.module)
        return self.module

    def _options(self, *, train: bool) -> dict[str, Any]:
        known = inspect.signature(type(self.module).__call__).parameters
        return {"train": train} if "train" in known else {}


def as_model(model: Model | nn.Module) -> Model:
    """A model as it is; a Linen module wrapped.

    >>> as_model(nn.Dense(3)) == Linen(nn.Dense(3))
    True
    >>> as_model(as_model(nn.Dense(3))) == Linen(nn.Dense(3))
    True
    """
    return Linen(model) if isinstance(model, nn.Module) else model
