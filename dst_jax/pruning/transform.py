"""The frame of every method: an Optax transform around an inner optimizer.

    gradients -> [method: which the inner optimizer sees] -> inner optimizer
              -> every so many steps [method: the new mask]
              -> updates after which pruned weights are exactly 0, and statistics of
                 pruned weights as at init, so that a regrown weight starts anew

A method (`protocol.Method`) says what the first mask is, when it changes and how. The
mask, the method's memory and the inner state live in one `SparseState`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from dst_jax import trees
from dst_jax.pruning import masks, packing
from dst_jax.pruning.apply_mask import (
    DenseMaskState,
    MaskState,
    check_mask,
    hold,
)
from dst_jax.pruning.protocol import Changes, Method, SparseState, Step
from dst_jax.pruning.reset_state import reset_where
from dst_jax.typing import Mask, Params, Rules

__all__ = ["sparsify"]


def sparsify(
    inner: optax.GradientTransformation,
    method: Method,
    *,
    rules: Rules = (),
    mask: Mask = None,
    seed: jax.typing.ArrayLike = 0,
    track: bool = False,
    packed: bool = False,
    skip_update: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """An optimizer with a method's masks; every method takes these options.

    `optax.MultiSteps` goes around it: only real steps count then.

    Args:
      inner: any Optax optimizer; its state is wrapped.
      method: how masks are chosen.
      rules: which leaves are prunable, as in `masks.prunable`.
      mask: the first mask in place of the method's, `None` leaves are never pruned.
      seed: of the method's random choices; may be traced.
      track: whether to remember which weights were ever active (`statistics`).
      packed: whether masks take a bit instead of a byte per weight in the state.
      skip_update: whether a mask update takes the place of the optimizer's step, as in
        RigL's code. Off, no step is lost.

    Returns:
      A transform; `update` needs `params`.

    Raises:
      TypeError: `inner` is not an Optax transform.
      ValueError: an option is out of range; at `init`, nothing is prunable, `mask` does
        not fit, or `inner` holds a `MultiSteps`.
    """
    if not (hasattr(inner, "init") and hasattr(inner, "update")):
        raise TypeError(f"inner must be an Optax transform, got {inner!r}")
    frame = _Frame(
        inner=optax.with_extra_args_support(inner),
        method=method,
        rules=rules,
        mask=mask,
        seed=seed,
        track=track,
        store=packing.pack if packed else lambda mask: mask,
        skip_update=skip_update,
    )
    return optax.GradientTransformationExtraArgs(frame.init, frame.update)


@dataclass(frozen=True)
class _Frame:
    """`init` and `update` of `sparsify`, whose options it holds."""

    inner: optax.GradientTransformationExtraArgs
    method: Method
    rules: Rules
    mask: Mask
    seed: Any
    track: bool
    store: Callable[[Mask], Any]
    skip_update: bool

    def init(self, params: optax.Params) -> SparseState:
        """The state before the first step."""
        key = jax.random.key(self.seed)
        first = self._first_mask(params, key)
        inner = self.inner.init(params)
        _refuse_multi_steps(inner)
        held = MaskState if self.method.holds else DenseMaskState
        return SparseState(
            step=jnp.zeros((), jnp.int32),
            key=key,
            held=held(self.store(first)),
            inner=inner,
            memory=self.method.memory(trees.only(first, params), first),
            changes=Changes(_zeros(first), _zeros(first)),
            ever=self.store(jax.tree.map(jnp.copy, first)) if self.track else None,
        )

    def update(
        self,
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, SparseState]:
        """One step, and a new mask if one is due."""
        if params is None:
            raise ValueError("params are needed: call update(grads, state, params)")
        method = self.method
        now = _look(updates, state, params)
        due = None if method.due is None else method.due(now.step)
        moves, inner = self._advance(now, due, updates, state, params, extra_args)
        state = state._replace(step=now.step)
        if method.observe is not None:
            state = state._replace(memory=method.observe(now))
        if due is not None:
            # Only what masks are made of goes through the branches: they would copy
            # the optimizer's statistics at every step.
            slim = state._replace(inner=())
            state = jax.lax.cond(
                due, lambda: self._refresh(now, moves, slim, params), lambda: slim
            )
        if method.holds:
            new = packing.unpack(state.held.mask)
            if due is not None:
                stays = jax.tree.map(jnp.logical_and, now.mask, new)
                inner = self._fresh_elsewhere(inner, stays, params)
            # A weight that comes back starts at 0: it moves from the next step on.
            moves = hold(new, hold(now.mask, moves, params), params)
        return moves, state._replace(inner=inner)

    def _first_mask(self, params: Params, key: Array) -> Mask:
        if self.mask is not None:
            check_mask(self.mask, params)
            return jax.tree.map(jnp.copy, self.mask)  # survives donated states
        prunable = masks.prunable(params, self.rules)
        if not jax.tree.leaves(prunable):
            raise ValueError("params has nothing to prune: no leaf of two or more axes")
        return self.method.first(prunable, jax.random.fold_in(key, 0))

    def _advance(
        self,
        now: Step,
        due: Any,
        updates: optax.Updates,
        state: SparseState,
        params: Params,
        extra_args: dict[str, Any],
    ) -> tuple[optax.Updates, optax.OptState]:
        """The inner optimizer's step, or none where a mask update takes its place."""

        def advance() -> tuple[optax.Updates, optax.OptState]:
            seen = trees.merge(self.method.gradients(now), updates)
            moves, inner = self.inner.update(seen, state.inner, params, **extra_args)
            if self.method.adjust is not None:
                after = _after(now, moves, params, self.method.holds)
                wanted = self.method.adjust(after)
                exact = jax.tree.map(jnp.subtract, wanted, now.params)
                moves = trees.merge(exact, moves)
            return moves, inner

        def stay() -> tuple[optax.Updates, optax.OptState]:
            shapes, _ = jax.eval_shape(advance)
            return optax.tree.zeros_like(shapes), state.inner

        if due is None or not self.skip_update:
            return advance()
        return jax.lax.cond(due, stay, advance)

    def _refresh(
        self, now: Step, moves: optax.Updates, state: SparseState, params: Params
    ) -> SparseState:
        """The state with the new mask, once the optimizer's step is done."""
        after = _after(now, moves, params, self.method.holds)
        after = after._replace(memory=state.memory)
        new, memory = self.method.refresh(after)
        dropped = jax.tree.map(lambda a, b: a & ~b, now.mask, new)
        grown = jax.tree.map(lambda a, b: ~a & b, now.mask, new)
        ever = state.ever
        if ever is not None:
            ever = jax.tree.map(jnp.logical_or, packing.unpack(ever), new)
            ever = self.store(ever)
        return state._replace(
            held=state.held._replace(mask=self.store(new)),
            memory=memory,
            changes=Changes(_active(dropped), _active(grown)),
            ever=ever,
        )

    def _fresh_elsewhere(
        self, inner: optax.OptState, stays: Mask, params: Params
    ) -> optax.OptState:
        """Statistics as at `init` of weights that are pruned or have just come back.

        Kept so at every step rather than reset at growth, the statistics need not pass
        through the branches of a mask update; the selection fuses with their update.
        """
        others = jax.tree.map(jnp.logical_not, stays)
        fresh = self.inner.init(masks.apply(stays, params))
        return reset_where(inner, fresh, others)


def _look(updates: optax.Updates, state: SparseState, params: Params) -> Step:
    """What the method sees before the optimizer's step."""
    mask = packing.unpack(state.held.mask)
    step = jnp.asarray(optax.safe_increment(state.step))
    return Step(
        params=trees.only(mask, params),
        grads=_gradients(mask, updates),
        mask=mask,
        step=step,
        key=jax.random.fold_in(state.key, step),
        memory=state.memory,
    )


def _after(now: Step, moves: optax.Updates, params: Params, holds: bool) -> Step:
    """`now` with the weights that the optimizer's step leads to."""
    if holds:
        moves = hold(now.mask, moves, params)
    moved = optax.apply_updates(
        trees.only(now.mask, params), trees.only(now.mask, moves)
    )
    return now._replace(params=moved)


def _gradients(mask: Mask, updates: optax.Updates) -> Params:
    """Gradients of the prunable leaves."""

    def take(name: str, m: Any, gradient: Any) -> Any:
        del m
        if gradient is None:
            raise ValueError(
                f"the update of {name} is None but its weights are pruned: exclude the"
                " layer by rules"
            )
        return gradient

    return trees.map_named(take, mask, updates)


def _zeros(mask: Mask) -> Any:
    """An int32 scalar 0 for every leaf."""
    return jax.tree.map(lambda _: jnp.zeros((), jnp.int32), mask)


def _active(mask: Mask) -> Any:
    """How many elements of every leaf are true, int32."""
    return jax.tree.map(lambda m: m.sum(dtype=jnp.int32), mask)


def _refuse_multi_steps(state: optax.OptState) -> None:
    def is_multi_steps(x: Any) -> bool:
        return isinstance(x, optax.MultiStepsState)

    if any(map(is_multi_steps, jax.tree.leaves(state, is_leaf=is_multi_steps))):
        raise ValueError(
            "inner must not hold optax.MultiSteps, whose small steps would be counted:"
            " wrap MultiSteps around the whole transform"
        )
