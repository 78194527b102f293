"""A network whose layers are each a little of every candidate pattern."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array

from dst_jax import activations, pruning, trees
from dst_jax.activations.tap import PATTERNS
from dst_jax.models.linen import Linen
from dst_jax.train.pattern_choice import Candidate, expected_cost, mixed, shares_of
from dst_jax.typing import Network, Variables

__all__ = ["CHOICE", "COST", "Choosing", "chosen", "layers_of", "with_candidate"]

CHOICE = "choice"
"""What the logits are called among the parameters, and the collection of the costs."""
COST = "pattern_cost"
"""The map of the expected cost, the same for every example."""


@dataclass(frozen=True)
class Choosing:
    """A model that in training mixes candidates in each layer (`mixed`).

    In evaluation it is its student, which is dense. In training it has one map more,
    `pattern_cost`.

    Attributes:
      student: a Linen model whose layers take patterns, as the zoo's do.
      candidates: the candidates of every layer.
      refinement: decay of SR-STE.
      speed: factor between the parameters and the logits: they learn faster than the
        weights by its square.
    """

    student: Linen
    candidates: tuple[Candidate, ...]
    refinement: float = 2e-4
    speed: float = 10.0

    def network(
        self, student: Network, costs: Mapping[str, Sequence[float] | Array]
    ) -> Network:
        """A network with equal logits.

        Args:
          student: network of the student.
          costs: costs of the candidates by layer; the layers that choose.
        """
        flat = {f"{name}/costs": jnp.asarray(own) for name, own in costs.items()}
        logits = {f"{name}/logits": jnp.zeros(len(self.candidates)) for name in costs}
        params = {**student.params, CHOICE: unflatten_dict(logits, sep="/")}
        held = {"temperature": jnp.float32(1), "costs": unflatten_dict(flat, sep="/")}
        return Network(self, {**student.variables, "params": params, CHOICE: held})

    def __call__(
        self,
        variables: Variables,
        x: Array,
        *,
        train: bool = False,
        rngs: Mapping[str, Array] | None = None,
    ) -> tuple[Any, Mapping[str, Array], Variables]:
        """As the student; in training as the mixture, with the map `pattern_cost`."""
        own = _students(variables)
        if not train:
            return self.student(own, x, train=False, rngs=rngs)
        held = variables[CHOICE]
        logits = _by_layer(variables["params"][CHOICE], "logits")
        shares = {
            name: shares_of(self.speed * a, held["temperature"])
            for name, a in logits.items()
        }
        with nn.intercept_methods(self._mixing(shares)):
            outputs, maps, updated = self.student(own, x, train=True, rngs=rngs)
        cost = expected_cost(shares, _by_layer(held["costs"], "costs"))
        return outputs, {**maps, COST: jnp.broadcast_to(cost, len(x))}, updated

    def _mixing(self, shares: Mapping[str, Array]) -> Callable[..., Any]:
        """A function for `nn.intercept_methods` that mixes the layers with shares."""

        def mix(
            next_call: Callable[..., Any],
            args: tuple[Any, ...],
            kwargs: dict[str, Any],
            context: nn.module.InterceptorContext,
        ) -> Any:
            module, name = context.module, "/".join(context.module.path)
            if name not in shares or context.method_name != "__call__":
                return next_call(*args, **kwargs)
            params = module.variables["params"]
            alone = module.clone(parent=None, name=None)

            def operation(x: Array, w: Array) -> Array:
                return jnp.asarray(alone.apply({"params": {**params, "kernel": w}}, x))

            return mixed(
                operation,
                args[0],
                params["kernel"],
                shares[name],
                candidates=self.candidates,
                refinement=self.refinement,
            )

        return mix


def layers_of(
    network: Network, example: jax.ShapeDtypeStruct, candidates: Sequence[Candidate]
) -> list[str]:
    """The layers that may choose: every M of the candidates divides their channels.

    Args:
      network: network of a Linen model.
      example: shape and dtype of an input.
      candidates: the candidates.

    Raises:
      ValueError: the model is no Linen module, or there is no such layer.

    >>> from dst_jax import models
    >>> model = Linen(models.create("mlp", num_classes=10, hidden=(8,)))
    >>> example = jax.ShapeDtypeStruct((1, 4, 4, 1), jnp.float32)
    >>> variables = model.init(jax.random.key(0), jnp.zeros(example.shape))
    >>> layers_of(Network(model, variables), example, [Candidate("2:4", "4:8")])
    ['fc1', 'fc2']
    """
    if not isinstance(network.model, Linen):
        raise ValueError(
            "patterns are chosen in a Linen network as it was created, from which"
            f" nothing is removed, got {network.model!r}"
        )
    sides = [side for c in candidates for side in c if side is not None]
    sizes = [int(side.partition(":")[2]) for side in sides]
    found: list[str] = []

    def watch(
        next_call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        module, name = context.module, "/".join(context.module.path)
        if getattr(module, "takes_patterns", False) and name not in found:
            groups = getattr(module, "feature_group_count", 1)
            if all(args[0].shape[-1] // groups % m == 0 for m in sizes):
                found.append(name)
        return next_call(*args, **kwargs)

    def traced(variables: Variables, x: Array) -> Any:
        with nn.intercept_methods(watch):
            return network.model(variables, x)[0]

    jax.eval_shape(traced, dict(network.variables), example)
    if not found:
        raise ValueError(f"no layer has channels that all of {sizes} divide")
    return found


def with_candidate(network: Network, choice: Mapping[str, Candidate]) -> Network:
    """The network with hard patterns, and the mask of its weights.

    Args:
      network: network of a Linen model.
      choice: candidate of each layer that has chosen.

    >>> from dst_jax import models
    >>> model = Linen(models.create("mlp", num_classes=4, hidden=(8,)))
    >>> example = jax.ShapeDtypeStruct((1, 2, 2, 1), jnp.float32)
    >>> shapes = jax.eval_shape(model.init, jax.random.key(0), example)
    >>> variables = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)
    >>> found = with_candidate(
    ...     Network(model, variables), {"fc2": Candidate("2:4", "4:8")})
    >>> activations.patterns_of(found.variables)
    {'fc2': '4:8'}
    >>> int(found.mask["fc2"]["kernel"].sum()), found.mask["fc1"]["kernel"] is None
    (16, True)
    """

    def mask_of(path: str, w: Array) -> Array | None:
        layer, _, leaf = path.rpartition("/")
        if leaf != "kernel" or layer not in choice:
            return None
        pattern = choice[layer].weight
        if pattern is None:
            return jnp.ones(w.shape, bool)
        return pruning.structures.by_name(pattern)(jnp.abs(w), 0)

    mask = trees.map_named(mask_of, network.params)
    pruned = network.with_params(pruning.masks.apply(mask, network.params))
    own = {k: c.activation for k, c in choice.items() if c.activation is not None}
    flat: Any = flatten_dict(dict(network.variables.get(PATTERNS, {})), sep="/")
    kept = {k: n for k, n in flat.items() if k.rpartition("/")[0] not in choice}
    flat = flatten_dict(activations.with_patterns({}, own)[PATTERNS], sep="/")
    variables = {k: x for k, x in pruned.variables.items() if k != PATTERNS}
    if kept | flat:
        variables[PATTERNS] = unflatten_dict(kept | flat, sep="/")
    return Network(network.model, variables, mask)


def chosen(network: Network) -> tuple[Network, dict[str, Candidate]]:
    """The student of a `Choosing` network with what its layers have chosen.

    Args:
      network: network of a `Choosing` model, with values.

    >>> from dst_jax import models
    >>> model = Linen(models.create("mlp", num_classes=10, hidden=(8,)))
    >>> student = Network(model, model.init(jax.random.key(0), jnp.zeros((1, 4, 4, 1))))
    >>> choosing = Choosing(model, (Candidate("2:4"), Candidate()))
    >>> chosen(choosing.network(student, {"fc1": [0.5, 1.0]}))[1]["fc1"].title
    'W 2:4'
    """
    model = network.model
    assert isinstance(model, Choosing)
    logits = _by_layer(network.params[CHOICE], "logits")
    choice = {name: model.candidates[int(a.argmax())] for name, a in logits.items()}
    student = Network(model.student, _students(network.variables))
    return with_candidate(student, choice), choice


def _students(variables: Variables) -> dict[str, Any]:
    params = {name: x for name, x in variables["params"].items() if name != CHOICE}
    own = {name: x for name, x in variables.items() if name != CHOICE}
    return {**own, "params": params}


def _by_layer(tree: Any, leaf: str) -> dict[str, Array]:
    flat: Any = flatten_dict(dict(tree), sep="/")
    return {path.removesuffix(f"/{leaf}"): x for path, x in flat.items()}
