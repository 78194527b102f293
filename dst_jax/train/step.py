"""The jitted steps: one for training, one for evaluation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding
from jaxtyping import Array, Float, Int

from dst_jax import activations, cost, pruning
from dst_jax.train.objective import Objective
from dst_jax.train.state import Model, TrainState

__all__ = ["EvalStep", "Preprocess", "TrainStep", "make_eval_step", "make_train_step"]

Batch = dict[str, Array]
Preprocess = Callable[[Array], Array]
"""uint8 images to the network's input, on the device."""
TrainStep = Callable[
    [TrainState, Batch, Objective], tuple[TrainState, dict[str, Array]]
]
EvalStep = Callable[[Any, Any, Batch], dict[str, Any]]


def make_train_step(
    model: Model,
    optimizer: optax.GradientTransformation,
    *,
    preprocess: Preprocess,
    steps_per_epoch: int = 1,
    out_sharding: NamedSharding | None = None,
    dense_weights: bool = False,
) -> TrainStep:
    """`(state, batch, objective) -> (state, metrics)`, jitted; `state` is donated.

    One step serves every stage. Activation maps are collected only if the objective
    has a term over them. Metrics are scalars: `loss`, its parts, `accuracy`.

    Args:
      model: a Linen module, `(x, train=...) -> logits`.
      optimizer: holds the mask or chooses it, if there is one.
      preprocess: uint8 images to the network's input.
      steps_per_epoch: for what the objective counts in epochs.
      out_sharding: of the new state and the metrics.
      dense_weights: whether the state's weights are dense and the network computes
        with `pruning.sparse_params`; gradients are taken there.
    """
    tx = optax.with_extra_args_support(optimizer)

    def train_step(
        state: TrainState, batch: Batch, objective: Objective
    ) -> tuple[TrainState, dict[str, Array]]:
        x = preprocess(batch["image"])
        adapted = objective.adapted(state.adaptive)

        def loss_fn(params: Any) -> tuple[Array, Any]:
            logits, maps, model_state = _forward(
                model,
                {"params": params, **state.model_state},
                x,
                collect=objective.activation is not None,
                mutable=list(state.model_state),
                rngs={"dropout": jax.random.fold_in(state.key, state.step)},
            )
            loss, parts = adapted(
                logits,
                batch["label"],
                activations=maps,
                params=params,
                epoch=state.step / steps_per_epoch,
            )
            return loss, (parts, logits, model_state)

        grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
        params = state.params
        if dense_weights:
            params = pruning.sparse_params(params, state.opt_state)
        (loss, (parts, logits, model_state)), grads = grad_fn(params)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        metrics = {
            "loss": loss,
            **parts,
            "accuracy": (logits.argmax(-1) == batch["label"]).mean(),
        }
        adaptive = objective.adapt(state.adaptive, metrics)
        if adaptive is not None:
            metrics["strength"] = adaptive.levels
        new = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            model_state=model_state,
            opt_state=opt_state,
            key=state.key,
            adaptive=adaptive,
        )
        return new, metrics

    return jax.jit(train_step, donate_argnums=0, out_shardings=out_sharding)


def make_eval_step(
    model: Model,
    *,
    preprocess: Preprocess,
    count: bool = True,
    out_sharding: NamedSharding | None = None,
) -> EvalStep:
    """`(params, model_state, batch) -> sums`, jitted; everything in it is exact.

    The sums: `examples`, `top1`, `top5` (int32; ties go to the lower class, as
    `argmax` does), `loss` (cross-entropy, float32), `zeros` and `elements` (of every
    map: zeros per example, elements of one example) and, with `count`, `counts` (see
    `cost.count`).
    """

    def eval_step(params: Any, model_state: Any, batch: Batch) -> dict[str, Any]:
        def forward(variables: Any, x: Array) -> tuple[Array, dict[str, Array]]:
            return _forward(model, variables, x, collect=True, train=False)[:2]

        variables = {"params": params, **model_state}
        x = preprocess(batch["image"])
        sums: dict[str, Any] = {}
        if count:
            counted = cost.count(forward, weights=0, with_output=True)
            (logits, maps), sums["counts"] = counted(variables, x)
        else:
            logits, maps = forward(variables, x)
        rank = _rank(logits, batch["label"])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        return sums | {
            "examples": jnp.int32(rank.size),
            "top1": (rank < 1).sum(dtype=jnp.int32),
            "top5": (rank < 5).sum(dtype=jnp.int32),
            "loss": losses.sum(),
            "zeros": activations.counts(maps),
            "elements": {name: jnp.int32(x[0].size) for name, x in maps.items()},
        }

    return jax.jit(eval_step, out_shardings=out_sharding)


def _forward(
    model: Model,
    variables: Any,
    x: Array,
    *,
    collect: bool,
    mutable: list[str] | None = None,
    train: bool = True,
    rngs: dict[str, Array] | None = None,
) -> tuple[Array, dict[str, Array], Any]:
    """Logits, activation maps (none unless collected) and updated collections."""
    mutable = mutable or []
    if collect:
        return activations.apply_with_activations(
            model, variables, x, train=train, mutable=mutable, rngs=rngs
        )
    logits, updated = model.apply(variables, x, train=train, mutable=mutable, rngs=rngs)
    return logits, {}, dict(updated)


def _rank(
    logits: Float[Array, "batch classes"], labels: Int[Array, "batch"]
) -> Int[Array, "batch"]:
    """How many classes come before the label."""
    own = jnp.take_along_axis(logits, labels[:, None], axis=1)
    classes = jnp.arange(logits.shape[1])[None]
    tied_before = (logits == own) & (classes < labels[:, None])
    # NaN logits compare false with everything: count them as before the label.
    ahead = ~(logits <= own) | tied_before
    return ahead.sum(1, dtype=jnp.int32)
