"""Methods as Optax transforms, and what they declare about themselves."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import optax

from dst_jax.pruning import flops
from dst_jax.pruning.protocol import Method
from dst_jax.pruning.structures import unstructured
from dst_jax.pruning.transform import sparsify

__all__ = ["Description", "Factory", "description_of", "method"]

Factory = Callable[..., optax.GradientTransformationExtraArgs]
"""`(inner, **options) -> transform`, as `method` makes it."""
Build = Callable[..., Method]
"""A function of a method's options, keyword-only."""
Units = Literal["units", "any"]


@dataclass(frozen=True)
class Description:
    """What a method declares besides its masks.

    Attributes:
      options: the options with their defaults, those of `sparsify` included.
      lengths: defaults of options that count optimizer steps, as shares of a stage.
        Papers give steps for their own trainings; these shares are chosen, not tuned.
      ends: names of options that are a step of the stage, so at most its length.
      texts: defaults of other options that a command has to choose, as the names of a
        structure or a penalty.
      structures: the structures that the option `structure` takes: "any", "units" for
        those that rank units against each other, "none" if there is no such option.
      build: the function of the method's own options.
      dense_gradients: how often gradients of all weights are needed as long as pruned
        weights are held at 0.
    """

    options: Mapping[str, inspect.Parameter]
    lengths: Mapping[str, float]
    ends: Sequence[str]
    texts: Mapping[str, str]
    structures: Literal["none", "units", "any"]
    build: Build
    dense_gradients: flops.DenseGradients

    def method(self, **options: Any) -> Method:
        """The method; options of `sparsify` are left out.

        Raises:
          ValueError: an option is out of range.
        """
        structure = options.get("structure") or unstructured()
        if self.structures == "units" and structure.choose is not None:
            raise ValueError(
                f"structure must rank units against each other, got {structure.name}:"
                " its number per group is fixed"
            )
        own = inspect.signature(self.build).parameters
        for name, value in options.items():
            # Steps, and what is computed with them, are int32 on a device.
            if name in own and isinstance(value, int) and not abs(value) < 2**31:
                raise ValueError(f"{name} must be below 2**31 in size, got {value}")
        return self.build(**{k: v for k, v in options.items() if k in own})

    def holds(self, **options: Any) -> bool:
        """Whether pruned weights are held at 0 in the parameters themselves.

        If not, the parameters stay dense and the network computes with `sparse_params`.

        Raises:
          ValueError: an option is out of range.
        """
        return self.method(**options).holds

    def dense_gradient_every(self, step: float, **options: Any) -> int | None:
        """Steps between gradients of all weights, for `training_flops`.

        Args:
          step: number of the optimizer step.
          **options: options as for `create`; the others have their defaults.

        Returns:
          None = never, 1 = at every step, or the interval of the mask updates.

        Raises:
          ValueError: an option is out of range.
        """
        if not self.holds(**options):
            return 1
        defaults = {name: p.default for name, p in self.options.items()}
        return self.dense_gradients(step, **(defaults | options))


@overload
def method(build: Build) -> Factory:
    """`@method` without arguments."""
    ...


@overload
def method(
    *,
    lengths: Mapping[str, float] | None = None,
    ends: Sequence[str] = (),
    texts: Mapping[str, str] | None = None,
    structures: Units = "any",
    dense_gradients: flops.DenseGradients = flops.never,
) -> Callable[[Build], Factory]:
    """`@method(...)` with what `describe` answers."""
    ...


def method(
    build: Build | None = None,
    *,
    lengths: Mapping[str, float] | None = None,
    ends: Sequence[str] = (),
    texts: Mapping[str, str] | None = None,
    structures: Units = "any",
    dense_gradients: flops.DenseGradients = flops.never,
) -> Any:
    """A function that returns a `Method`, as one that returns an Optax transform.

    The result takes `inner` first, then the options of `build` and of `sparsify`. Used
    as `@method`, or as `@method(lengths={"end": 0.75})` with what `describe` answers.

    Args:
      build: function of the method's options, all keyword-only.
      lengths: defaults of options that count optimizer steps, as shares of a stage.
      ends: names of options that are a step of the stage.
      texts: defaults of other options that a command has to choose, in words.
      structures: the structures that the option `structure` takes, "any" or "units".
      dense_gradients: `(step, **options) -> int | None`, how often gradients of all
        weights are needed: `flops.never`, `flops.at_updates`,
        `flops.if_grown_by_gradient`, or a function of your own. Methods that train
        dense weights need them at every step and declare nothing.

    Raises:
      ValueError: `lengths`, `ends` or `texts` name an option that `build` has not.

    >>> import jax.numpy as jnp
    >>> from dst_jax.pruning import updates
    >>> @method(lengths={"at": 0.5}, ends=["at"])
    ... def dense(*, at: int) -> Method:
    ...     return Method(lambda params, key: updates.dense_mask(params))
    >>> tx = dense(optax.sgd(0.1), at=5, packed=True)
    >>> tx.init({"kernel": jnp.ones((1, 2))}).held.mask["kernel"].bits.tolist()
    [192]
    """
    if build is None:
        return functools.partial(
            method,
            lengths=lengths,
            ends=ends,
            texts=texts,
            structures=structures,
            dense_gradients=dense_gradients,
        )
    inner, _, *common = inspect.signature(sparsify).parameters.values()
    own = inspect.signature(build).parameters
    description = Description(
        options={**own, **{p.name: p for p in common}},
        lengths=dict(lengths or {}),
        ends=tuple(ends),
        texts=dict(texts or {}),
        structures=structures if "structure" in own else "none",
        build=build,
        dense_gradients=dense_gradients,
    )
    unknown = {*description.lengths, *ends, *description.texts} - own.keys()
    if unknown:
        raise ValueError(f"{build.__name__} has no option {sorted(unknown)}")

    @functools.wraps(build)
    def factory(
        inner: optax.GradientTransformation, **options: Any
    ) -> optax.GradientTransformationExtraArgs:
        of_frame = {k: v for k, v in options.items() if k not in own}
        of_method = {k: v for k, v in options.items() if k in own}
        return sparsify(inner, description.method(**of_method), **of_frame)

    factory.__signature__ = inspect.Signature([inner, *own.values(), *common])  # type: ignore[attr-defined]
    factory.description = description  # type: ignore[attr-defined]
    return factory


def description_of(factory: Any) -> Description:
    """What the method of a factory declares.

    Args:
      factory: function made by `method`.

    Raises:
      ValueError: the factory was not made by `method`.

    >>> from dst_jax import pruning
    >>> description_of(pruning.rigl).lengths
    {'end': 0.75, 'interval': 0.02}
    """
    found = getattr(factory, "description", None)
    if not isinstance(found, Description):
        raise ValueError(f"method must be made by pruning.method, got {factory!r}")
    return found
