"""What training carries from step to step."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from dst_jax import kernels, parametrisations, pruning, trees
from dst_jax.models.linen import as_model
from dst_jax.parametrisations import Parametrisation, State, straight_through
from dst_jax.train import scheduled
from dst_jax.train.scheduled import Schedules
from dst_jax.typing import Mask, Model, Network, Params, Scalar

__all__ = [
    "TrainState",
    "enter",
    "follow",
    "has_method",
    "init_network",
    "is_masked",
    "lift",
    "network_of",
]


@flax.struct.dataclass
class TrainState:
    """The training state: one pytree, saved whole and donated to every step."""

    step: Any
    """int32: the steps done in this stage."""
    params: Params
    """What is trained; a parametrisation makes the network's weights of it."""
    model_state: Any
    """Other collections of the network; those that are scheduled as of this step."""
    opt_state: optax.OptState
    key: Any
    """Root of the stage's random keys; step `t` uses `fold_in(key, t)`."""
    adaptive: Any = None
    """Feedback to the strengths of terms with a target; None if there are none."""


def init_network(model: Model | nn.Module, example: Array, key: Array) -> Network:
    """A freshly initialised network, for inputs like `example`.

    Raises:
      ValueError: the model does not say how it is initialised.

    >>> network = init_network(nn.Dense(3), jnp.ones((1, 2)), jax.random.key(0))
    >>> network.params["kernel"].shape, network.mask
    ((2, 3), None)
    """
    model = as_model(model)
    init = getattr(model, "init", None)
    if init is None:
        raise ValueError(
            f"{model!r} has no init(key, example): start from"
            " Network(model, variables), given as init="
        )
    return Network(model, dict(jax.jit(init)(key, example)))


def enter(
    network: Network,
    optimizer: optax.GradientTransformation,
    key: Array,
    adaptive: Any = None,
    *,
    parametrisation: Parametrisation | None = None,
    schedules: Schedules | None = None,
    seed: Scalar = 0,
    first_weights: Callable[[Params, Mask], Params] | None = None,
) -> TrainState:
    """The state at a stage's step 0: pruned weights are exactly 0 from the start.

    With a method that trains dense weights, pruned ones keep their values.

    Args:
      network: what the stage starts from.
      optimizer: the stage's; its mask may be given or of its own making.
      key: root of the stage's random keys.
      adaptive: feedback to strengths, from `Objective.start`.
      parametrisation: between what is trained and the weights; None follows from the
        optimizer, see `follow`.
      schedules: variables that follow the step.
      seed: seed of what a parametrisation draws.
      first_weights: what training starts from, of what is trained and its first mask.

    Raises:
      ValueError: `first_weights` is given, and pruned weights are not held at 0.

    >>> network = Network(print, {"params": {"kernel": jnp.ones((2, 2))}})
    >>> state = enter(network, optax.sgd(0.1), jax.random.key(0))
    >>> int(state.step), state.params["kernel"].shape
    (0, (2, 2))
    """
    given = parametrisations.identity if parametrisation is None else parametrisation
    trained = parametrisations.init_with(
        given, network.params, network.model_state, seed=seed
    )
    holds = not pruning.keeps_dense(jax.eval_shape(optimizer.init, trained))
    if network.mask is not None and holds:
        trained = pruning.masks.apply(lift(network.mask, trained), trained)
    opt_state = optimizer.init(trained)
    masked = is_masked(opt_state) and holds
    if first_weights is not None and not masked:
        raise ValueError(
            "first_weights needs an optimizer with a mask that holds pruned weights at"
            " 0: there is none"
        )
    if masked:
        trained = pruning.sparse_params(trained, opt_state)
    if first_weights is not None:
        trained = first_weights(trained, pruning.get_mask(opt_state))
    step, now = jnp.zeros((), jnp.int32), scheduled.values(schedules or {}, 0)
    own = jax.eval_shape(
        partial(parametrisations.finish_variables, given),
        *(trained, State(opt_state, step, now)),
    )
    # What the parametrisation hands on of its own is no variable while it is trained.
    kept = {k: x for k, x in network.model_state.items() if k not in own}
    return TrainState(
        step=step,
        params=trained,
        model_state=scheduled.put(kept, now),
        opt_state=opt_state,
        key=key,
        adaptive=adaptive,
    )


def follow(
    parametrisation: Parametrisation | None, opt_state: optax.OptState
) -> Parametrisation:
    """The parametrisation of a stage, with the one that its method needs.

    A method that trains dense weights makes the network compute with
    `pruning.sparse_params` of them, whatever else is between the two trees.

    Args:
      parametrisation: what is asked for; None for the identity.
      opt_state: the optimizer's state; shapes will do.

    >>> from dst_jax import pruning
    >>> params = {"kernel": jnp.ones((4, 4))}
    >>> dense = pruning.ste(optax.sgd(0.1), sparsity=0.5).init(params)
    >>> follow(None, dense).read is pruning.sparse_params
    True
    >>> follow(None, optax.sgd(0.1).init(params))
    Identity()
    """
    given = parametrisations.identity if parametrisation is None else parametrisation
    if not pruning.keeps_dense(opt_state):
        return given
    sparse = straight_through(pruning.sparse_params)
    if sparse in getattr(given, "parts", (given,)):
        return given
    return parametrisations.compose(sparse, given)


def lift(mask: Mask, trained: Params) -> Mask:
    """The mask of what is trained, from that of the network's weights.

    A leaf has the mask of the weights whose path its own ends in, if they have the same
    shape; None, never pruned, if there are no such weights.

    >>> mask = {"fc": {"kernel": jnp.array([True, False]), "bias": None}}
    >>> fc = {"kernel": jnp.ones(2), "bias": jnp.ones(2)}
    >>> lifted = lift(mask, {"weights": {"fc": fc}, "gates": {"fc": jnp.ones(2)}})
    >>> lifted["weights"]["fc"]["kernel"].tolist(), lifted["gates"]["fc"]
    ([True, False], None)
    """
    structures = (jax.tree.structure(t, is_leaf=trees.is_none) for t in (mask, trained))
    if len(set(structures)) == 1:
        return mask
    paths = jax.tree_util.tree_leaves_with_path(mask, is_leaf=trees.is_none)
    masks = {trees.path_name(path): leaf for path, leaf in paths}
    weights = kernels.Kernels(leaves=tuple(masks))

    def find(name: str, leaf: Any) -> Any:
        found = masks.get(weights.owner(name) or "")
        return found if found is not None and found.shape == leaf.shape else None

    return trees.map_named(find, trained)


def network_of(
    state: TrainState,
    model: Model | nn.Module,
    *,
    parametrisation: Parametrisation | None = None,
    schedules: Schedules | None = None,
) -> Network:
    """The network in a state: sparse, with its mask if the optimizer holds one.

    Args:
      state: from `enter`, or after any number of steps.
      model: the network's function.
      parametrisation: as for `enter`.
      schedules: as for `enter`; a parametrisation may read their values.

    >>> params = {"kernel": jnp.array([[1.0, 3.0]])}
    >>> method = pruning.ste(optax.sgd(0.1), sparsity=0.5)  # trains dense weights
    >>> state = enter(Network(print, {"params": params}), method, jax.random.key(0))
    >>> network_of(state, print).params["kernel"].tolist()
    [[0.0, 3.0]]
    """
    through = follow(parametrisation, state.opt_state)
    weights, more = state.params, {}
    now = scheduled.values(schedules or {}, state.step)
    if through != parametrisations.identity:
        weights, more = _finish(
            through, weights, State(state.opt_state, state.step, now)
        )
    mask = None
    if is_masked(state.opt_state):
        mask = pruning.get_mask(state.opt_state)
        mask = parametrisations.finish_mask(through, mask)
    model_state = scheduled.put(state.model_state, now)
    variables = {"params": weights, **model_state, **more}
    return Network(as_model(model), variables, mask)


def is_masked(opt_state: optax.OptState) -> bool:
    """Whether an optimizer holds a mask, given to it or chosen by a method.

    >>> is_masked(optax.sgd(0.1).init({"kernel": jnp.ones((2, 2))}))
    False
    """
    return bool(trees.instances(opt_state, pruning.MaskState))


def has_method(opt_state: optax.OptState) -> bool:
    """Whether an optimizer chooses masks.

    >>> random = pruning.random(optax.sgd(0.1), sparsity=0.5)
    >>> has_method(random.init({"kernel": jnp.ones((2, 2))}))
    True
    """
    return bool(trees.instances(opt_state, pruning.SparseState))


@partial(jax.jit, static_argnums=0)
def _finish(
    through: Parametrisation, trained: Params, now: State
) -> tuple[Params, dict[str, Any]]:
    more = parametrisations.finish_variables(through, trained, now)
    return through.finish(trained, now), more
