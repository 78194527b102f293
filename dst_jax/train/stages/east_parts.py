"""EAST's parts around any stage: DyReLU with phases, shared blocks, scaled weights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from dst_jax import activations, checks, pruning, trees
from dst_jax.kernels import Kernel
from dst_jax.models.linen import Linen
from dst_jax.parametrisations import adjusted_density, block_rules, compose, shared
from dst_jax.train.stage import Hook, Stage, accepted
from dst_jax.typing import Network, Params, Rules, Schedule

if TYPE_CHECKING:
    from dst_jax.train.context import Context

__all__ = ["PhaseOut", "WithDyReLU", "east", "plain_rectifiers", "trained_sparsity"]


@dataclass(frozen=True)
class PhaseOut:
    """The phase of all DyReLUs: 1, then linear to 0, in shares of the stage.

    Attributes:
      start: share of the stage after which it falls.
      end: share of the stage from which it is 0.

    >>> phases = PhaseOut(0.25, 0.5)(steps=8, steps_per_epoch=4)["phases"]
    >>> [float(phases(step)) for step in (2, 3, 4)]
    [1.0, 0.5, 0.0]
    """

    start: float = 0.25
    end: float = 0.496

    def __post_init__(self) -> None:
        checks.share("start", self.start)
        checks.share("end", self.end)
        checks.at_least("end", self.end, self.start)

    def __call__(self, *, steps: int, steps_per_epoch: int) -> Mapping[str, Schedule]:
        """The schedule of the collection `phases`, for a stage of `steps` steps."""
        del steps_per_epoch
        ramp = activations.phase_out(start=self.start * steps, end=self.end * steps)
        return {activations.PHASES: ramp}


def east(
    stage: Stage,
    *,
    dyrelu: PhaseOut | None = None,
    owners: int | None = None,
    fan_in: bool = False,
) -> Stage:
    """A stage with parts of EAST, each of which works alone.

    The third part, densities in cycles, is a method: `pruning.east` in the stage's
    optimizer, as any other is. With shared blocks its sparsity is `trained_sparsity` of
    the `weights` and `trained` that an optimizer is given (see `train.Optimizer`), so
    that the budget is that of the network that shares nothing.

    Args:
      stage: stage to train; blocks are shared next to what its parametrisation does.
      dyrelu: puts DyReLUs in place of all rectifiers, and phases them out. The network
        that is handed on is the plain one.
      owners: number of blocks of each stage of a residual network that own their
        convolutions, which the blocks after them use, each times a scale of its own;
        None = no sharing. All weights of the network that is handed on are its own.
      fan_in: whether the weights that the first mask leaves are scaled to their own
        fan-in, for a network that has not been trained.

    Raises:
      ValueError: the stage has schedules and `dyrelu` is given, or an option is out of
        range.

    Reference:
      EAST: Li et al. 2024 (openreview.net/forum?id=XX9JdOJD8R).

    >>> stage = Stage(name="sparse", epochs=1, optimizer=print)
    >>> parts = east(stage, dyrelu=PhaseOut(), owners=2)
    >>> parts.schedules
    PhaseOut(start=0.25, end=0.496)
    """
    if dyrelu is not None:
        if stage.schedules:
            raise ValueError(
                f"dyrelu brings a schedule of its own, and stage {stage.path} has"
                f" {stage.schedules}"
            )
        stage = replace(
            stage,
            schedules=dyrelu,
            on_entry=WithDyReLU(stage.path, stage.on_entry),
            on_exit=_Plain(stage.on_exit),
        )
    if owners is not None:
        sharing, other = shared(block_rules(owners=owners)), stage.parametrisation
        both = sharing if other is None else compose(other, sharing)
        stage = replace(stage, parametrisation=both)
    if fan_in:
        stage = replace(stage, first_weights=pruning.scale_to_fan_in)
    return stage


def trained_sparsity(
    sparsity: float,
    *,
    weights: Params,
    trained: Params,
    rules: Rules = (),
    kernels: Mapping[str, Kernel] | None = None,
) -> float:
    """The sparsity of what is trained at which as many weights are active as ever.

    It is the target itself where nothing is shared. What is counted is what is
    trained: a kernel that several blocks use counts once.

    Args:
      sparsity: target for the prunable weights of the network, in [0, 1).
      weights: the network's weights; shapes will do.
      trained: what is trained, from `parametrisation.init`; shapes will do.
      rules: rules for the leaves that are prunable, as in `pruning.masks.prunable`.
      kernels: kernels of the network; by name if None.

    Raises:
      ValueError: what is trained has fewer weights than shall be active.

    >>> whole = {"a": {"kernel": jnp.ones((4, 4))}, "b": {"kernel": jnp.ones((4, 4))}}
    >>> part = {"weights": {**whole, "b": {"kernel": None}}}
    >>> trained_sparsity(0.75, weights=whole, trained=part)
    0.5
    """
    counted = [
        pruning.masks.prunable(tree, rules, kernels=kernels)
        for tree in (weights, trained)
    ]
    sizes = [trees.count(tree) for tree in counted]
    if sizes[0] == sizes[1]:
        return sparsity
    density = adjusted_density(1 - sparsity, weights=counted[0], trained=counted[1])
    return 1 - density


@dataclass(frozen=True)
class WithDyReLU:
    """Puts DyReLUs, freshly drawn, in place of a network's rectifiers on entry.

    Attributes:
      path: path of the stage, which the weights of the DyReLUs are drawn for.
      before: what else happens on entry, first.

    >>> WithDyReLU("sparse").before is None
    True
    """

    path: str
    before: Hook | None = None

    def __call__(self, network: Network, *, context: "Context") -> Network:
        """The network with DyReLUs.

        Raises:
          ValueError: the model is no Linen module with an attribute `rectifier`.
        """
        network = _called(self.before, network, context)
        model = network.model
        module = model.module if isinstance(model, Linen) else None
        if module is None or not hasattr(module, "rectifier"):
            raise ValueError(
                "dyrelu needs a Linen module with an attribute rectifier, as all of"
                f" dst_jax.models have, got {module or model!r}"
            )
        dynamic = Linen(module.clone(rectifier="dyrelu"))
        example = jnp.zeros(context.example.shape, context.example.dtype)
        fresh = dynamic.init(context.stage_key(self.path), example)
        variables = _completed(dict(network.variables), fresh)
        mask = network.mask
        if mask is not None:
            nothing = jax.tree.map(lambda _: None, variables["params"])
            mask = _completed(dict(mask), nothing)
        return Network(dynamic, variables, mask)


def plain_rectifiers(network: Network) -> Network:
    """The network with ReLU in place of every DyReLU; any other network as it is.

    It is the same function if all phases are 0.

    >>> plain_rectifiers(Network(print, {"params": {}})).model is print
    True
    """
    model = network.model
    if not isinstance(model, Linen):
        return network
    if getattr(model.module, "rectifier", "relu") != "dyrelu":
        return network
    variables, mask = activations.without_dyrelu(network.variables, network.mask)
    return Network(Linen(model.module.clone(rectifier="relu")), variables, mask)


@dataclass(frozen=True)
class _Plain:
    """`plain_rectifiers` on exit, and then what else happens."""

    after: Hook | None

    def __call__(self, network: Network, *, context: "Context") -> Network:
        return _called(self.after, plain_rectifiers(network), context)


def _called(hook: Hook | None, network: Network, context: "Context") -> Network:
    if hook is None:
        return network
    return hook(network, **accepted(hook, context=context))


def _completed(own: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """A tree of dicts with what another has in addition."""
    found = dict(own)
    for name, part in more.items():
        if name not in own:
            found[name] = part
        elif isinstance(part, Mapping):
            found[name] = _completed(own[name], part)
    return found
