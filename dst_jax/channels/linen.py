"""Linen modules that run on smaller arrays with their own code."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

import flax.linen as nn
import jax
import numpy as np
from flax.errors import FlaxError

from dst_jax import trees
from dst_jax.channels.axis_units import Bools
from dst_jax.channels.groups import Groups, groups
from dst_jax.channels.relations import SplitSide
from dst_jax.channels.removal import remove
from dst_jax.channels.same_program import difference
from dst_jax.channels.smaller_function import smaller
from dst_jax.jaxprs.traced_function import is_array, traced

__all__ = ["shrunk"]

SmallShapes = dict[str, tuple[int, ...]]
KERNELS = ("kernel", "embedding")


def shrunk(model: nn.Module, variables: Any) -> nn.Module:
    """The same network as a Linen module of smaller arrays.

    `channels.smaller` runs any function on smaller arrays; this is for those who need a
    module. Its code is the network's own, in which every layer takes `features` and
    `feature_group_count` from its kernel. `init` makes fresh variables of the smaller
    shapes. At the first call with arguments of a kind its operations are compared with
    those of `channels.smaller`: code that holds a number that no longer fits, such as
    heads, groups or elements of a mean, is refused.

    Args:
      model: the whole network.
      variables: its variables after `channels.remove`, or their shapes; no unit of
        heads or groups cut into.

    Returns:
      A module with the names and options of `model`.

    Raises:
      ValueError: at the call, the module would compute something else than
        `channels.smaller`, in the operation and the module that are named, or the
        arrays have shapes that the removal of units does not leave.

    >>> import jax.numpy as jnp
    >>> from dst_jax import channels
    >>> class Net(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, x):
    ...         return nn.Dense(2, name="fc2")(nn.relu(nn.Dense(4, name="fc1")(x)))
    >>> net, x = Net(), jnp.ones((1, 3))
    >>> variables = net.init(jax.random.key(0), x)
    >>> found = channels.groups(net.apply)(variables, x)
    >>> small = channels.remove(variables, found, {"fc1": np.arange(4) < 3})
    >>> shrunk(net, small).apply(small, x).shape
    (1, 2)
    """
    whole = type(model)
    shapes = {
        name: tuple(leaf.shape)
        for name, leaf in trees.named_leaves(variables).items()
        if is_array(leaf)
    }
    fitted = functools.partial(_fitted, shapes)
    known: set[str] = set()

    @functools.wraps(whole.__call__)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        kind = repr(jax.tree.map(_kind, (args, kwargs)))
        if kind not in known and not self.is_initializing():
            checked = _Check(model, fitted, shapes, tuple(self.scope.rngs))
            checked(*args, **kwargs)
            known.add(kind)
        with nn.intercept_methods(fitted):
            return whole.__call__(self, *args, **kwargs)

    own = type(whole.__name__, (whole,), {"__call__": call, "__doc__": whole.__doc__})
    fields = (field.name for field in dataclasses.fields(model) if field.init)
    return own(**{name: getattr(model, name) for name in fields if name != "parent"})


def _fitted(
    shapes: SmallShapes,
    next_fun: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: nn.module.InterceptorContext,
) -> Any:
    """A module's method, once its options are those of its kernel."""
    module: Any = context.module
    names = ("/".join(("params", *module.path, kernel)) for kernel in KERNELS)
    kernel = next((shapes[name] for name in names if name in shapes), None)
    if kernel is not None and hasattr(module, "features"):
        own = module.features
        several = tuple(kernel[-len(own) :]) if np.ndim(own) else kernel[-1]
        _set(module, "features", several)
        if hasattr(module, "feature_group_count") and args:
            _set(module, "feature_group_count", args[0].shape[-1] // kernel[-2])
    return next_fun(*args, **kwargs)


def _set(module: nn.Module, option: str, value: object) -> None:
    object.__setattr__(module, option, value)  # of this call's copy of the module


def _without_dropout(
    next_fun: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: nn.module.InterceptorContext,
) -> Any:
    """Nothing is dropped: random numbers are drawn in other shapes."""
    if isinstance(context.module, nn.Dropout):
        return args[0]
    return next_fun(*args, **kwargs)


def _named(
    next_fun: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: nn.module.InterceptorContext,
) -> Any:
    """What a module raises, with its path."""
    try:
        return next_fun(*args, **kwargs)
    except _Misfit:
        raise
    except (TypeError, ValueError, FlaxError) as error:
        path = "/".join(context.module.path) or type(context.module).__name__
        raise _Misfit(f"{path}: {str(error).splitlines()[0]}") from error


class _Misfit(Exception):
    """A module that raises on smaller arrays."""


def _kind(leaf: Any) -> Any:
    return (leaf.shape, leaf.dtype) if is_array(leaf) else leaf


@dataclasses.dataclass(frozen=True)
class _Check:
    """Compares a module on smaller arrays with `smaller`.

    Attributes:
      model: the whole network.
      fitted: interceptor that fits its layers to smaller arrays.
      shapes: those of the smaller arrays.
      rngs: names of the random numbers that the module is called with.
    """

    model: nn.Module
    fitted: Callable[..., Any]
    shapes: SmallShapes
    rngs: tuple[str, ...]

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Refuses what the module would compute in another way."""
        reasons: list[str] = []
        shapes: list[str] = []
        for split in get_args(SplitSide):
            try:
                reason = self._why_not(split, args, kwargs)
            except ValueError as error:
                shapes.append(str(error))
                continue
            if reason is None:
                return
            reasons.append(reason)
        raise ValueError(
            f"the code of {type(self.model).__name__} must not hold numbers that"
            f" smaller arrays do not fit, got: {(reasons + shapes)[0]}; run it with"
            " channels.smaller"
        )

    def _why_not(
        self, split: SplitSide, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> str | None:
        """How the module departs from `smaller`; None if it does not.

        Raises:
          ValueError: the arrays have shapes that the removal of units does not leave.
        """

        def own(variables: Any, *args: Any, **kwargs: Any) -> Any:
            with nn.intercept_methods(self.fitted), nn.intercept_methods(_named):
                return self._applied(variables, *args, **kwargs)

        whole = jax.eval_shape(lambda: self._initial(*args, **kwargs))
        found = groups(self._applied, has_aux=True, split=split)(whole, *args, **kwargs)
        for keep in _ends(found, _counts(found, self.shapes)):
            small = jax.eval_shape(
                functools.partial(remove, groups=found, keep=keep), whole
            )
            for name, leaf in trees.named_leaves(small).items():
                if leaf.shape != self.shapes[name]:
                    raise ValueError(
                        f"{name} of shape {self.shapes[name]}, which no units leave"
                    )
            replayed = smaller(self._applied, found, keep, has_aux=True)
            try:
                programs = [
                    traced(fn, (small, *args), kwargs, [0]).program
                    for fn in (own, replayed)
                ]
            except _Misfit as error:
                return str(error)
            reason = difference(*programs)
            if reason is not None:
                return reason
        return None

    def _applied(self, variables: Any, *args: Any, **kwargs: Any) -> Any:
        updated = [name for name in variables if name != "params"]
        rngs = {name: jax.random.key(0) for name in self.rngs}
        with nn.intercept_methods(_without_dropout):
            return self.model.apply(
                variables, *args, mutable=updated, rngs=rngs, **kwargs
            )

    def _initial(self, *args: Any, **kwargs: Any) -> Any:
        rngs = {name: jax.random.key(0) for name in ("params", *self.rngs)}
        variables = self.model.init(rngs, *args, **kwargs)
        collections = {name.split("/")[0] for name in self.shapes}
        return {name: variables[name] for name in variables if name in collections}


def _counts(found: Groups, shapes: SmallShapes) -> dict[str, int]:
    """How many units of every group arrays of these shapes hold.

    Raises:
      ValueError: the shapes do not say how many.
    """
    axes: dict[tuple[str, int], dict[str, int]] = {}
    for group in found.values():
        for path, axis, units in group.members:
            times = int((units == 0).sum())
            axes.setdefault((path, axis), {})[group.name] = times
    counts: dict[str, int] = {}
    while len(counts) < len(found):
        before = len(counts)
        for (path, axis), names in axes.items():
            unknown = [name for name in names if name not in counts]
            if len(unknown) != 1:
                continue
            (own,) = unknown
            whole = sum(n * found[name].size for name, n in names.items())
            fixed = found.shapes[path][axis] - whole
            known = sum(n * counts[name] for name, n in names.items() if name in counts)
            left = shapes[path][axis] - fixed - known
            counts[own], rest = divmod(left, names[own])
            if rest or not 0 <= counts[own] <= found[own].size:
                raise ValueError(
                    f"{path} of shape {shapes[path]}, which no units of {own!r} leave"
                )
        if len(counts) == before:
            open_ = tuple(name for name in found if name not in counts)
            raise ValueError(f"the shapes do not say what is left of {open_}")
    return counts


def _ends(found: Groups, counts: Mapping[str, int]) -> Iterator[dict[str, Bools]]:
    """The first units of every group, and the last ones."""
    yield {name: np.arange(g.size) < counts[name] for name, g in found.items()}
    yield {
        name: np.arange(g.size) >= g.size - counts[name] for name, g in found.items()
    }
