"""`init` and `update` of every method, around those of an inner optimizer."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dst_jax import trees
from dst_jax.kernels import Kernel
from dst_jax.pruning import explicit_axes, masks, packing, state_sharding
from dst_jax.pruning.apply_mask import fit_mask, hold
from dst_jax.pruning.held_masks import refuse_inside
from dst_jax.pruning.integer_shares import check_sizes
from dst_jax.pruning.layer_layout import LayerLayout, layout_of
from dst_jax.pruning.mask_state import DenseMaskState, MaskState
from dst_jax.pruning.protocol import Changes, Method, SparseState, Step
from dst_jax.pruning.reset_state import reset_where
from dst_jax.typing import Mask, Params, Rules

__all__ = ["Frame"]


@dataclasses.dataclass(frozen=True)
class Frame:
    """`init` and `update` of `sparsify`, whose options it holds."""

    inner: optax.GradientTransformationExtraArgs
    method: Method
    rules: Rules
    kernels: Mapping[str, Kernel] | None
    mask: Mask
    seed: Any
    track: bool
    store: Callable[[Mask], Any]
    skip_update: bool

    def init(self, params: optax.Params) -> SparseState:
        """The state before the first step."""
        trees.check_arrays("params", params)
        given = self._given(params)
        layout = self._layout(params, given)
        state = state_sharding.like_params(
            partial(self._start, layout), params, given, kernels=dict(layout.kernels)
        )
        masks.warn_of_emptied(
            explicit_axes.reduced(
                lambda mask: jax.tree.map(jnp.any, layout.apart(packing.unpack(mask))),
                state.held.mask,
            )
        )
        return state

    def _start(self, layout: LayerLayout, params: Params, given: Mask) -> SparseState:
        """`init`, for parameters wherever they are."""
        key = jax.random.key(self.seed)
        if given is None:
            weights = masks.prunable(params, self.rules, kernels=self.kernels)
        else:
            weights = trees.only(given, params)
        layers = layout.apart(weights)
        check_sizes(layers)
        if given is None:
            first = self.method.first(layers, jax.random.fold_in(key, 0))
        else:
            first = layout.apart(given)
        mask = state_sharding.tied(layout.together(first, params), params)
        inner = self.inner.init(params)
        refuse_inside(params, inner)
        held = MaskState if self.method.holds else DenseMaskState
        return SparseState(
            step=jnp.zeros((), jnp.int32),
            key=key,
            held=held(self.store(mask), layout),
            inner=inner,
            memory=self.method.memory(layers, first),
            changes=Changes(_zeros(first), _zeros(first)),
            ever=self.store(jax.tree.map(jnp.copy, mask)) if self.track else None,
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

        def step(
            updates: optax.Updates, state: Any, params: Params, **extra_args: Any
        ) -> tuple[optax.Updates, SparseState]:
            mask = packing.unpack(state.held.mask)
            grads = trees.like(updates, mask, names=("the updates", "the mask"))
            weights = trees.like(params, mask, names=("params", "the mask"))
            moves, state = self._step(mask, grads, state, weights, extra_args)
            return trees.like(moves, updates), state

        return explicit_axes.like_inputs(step, updates, state, params, **extra_args)

    def _step(
        self,
        mask: Mask,
        updates: optax.Updates,
        state: SparseState,
        params: Params,
        extra_args: dict[str, Any],
    ) -> tuple[optax.Updates, SparseState]:
        """`update` of trees in the containers of the mask."""
        method = self.method
        now = _look(mask, updates, state, params)
        due = None if method.due is None else method.due(now.step)
        moves, inner = self._advance(now, due, mask, updates, state, params, extra_args)
        state = state._replace(step=now.step)
        if method.observe is not None:
            state = state._replace(memory=method.observe(now))
        if due is not None:
            # Only what masks are made of goes through the branches: they would copy
            # the optimizer's statistics at every step.
            slim = state._replace(inner=())
            state = jax.lax.cond(
                due,
                lambda: self._refresh(now, moves, mask, slim, params),
                lambda: slim,
            )
        if method.holds:
            new = packing.unpack(state.held.mask)
            if due is not None:
                stays = jax.tree.map(jnp.logical_and, mask, new)
                inner = self._fresh_elsewhere(inner, stays, params)
            # A weight that comes back starts at 0: it moves from the next step on.
            moves = hold(new, hold(mask, moves, params), params)
        return moves, state._replace(inner=inner)

    def _given(self, params: Params) -> Mask:
        """The first mask in place of the method's, if there is one."""
        if self.mask is None:
            return None
        fitting = fit_mask(self.mask, params)
        return jax.tree.map(lambda m: m if m.size else None, fitting)

    def _layout(self, params: Params, given: Mask) -> LayerLayout:
        if given is not None:
            return layout_of(params, given, self.kernels)
        shapes = jax.tree.map(explicit_axes.abstract, params)
        return masks.prunable_layers(shapes, self.rules, kernels=self.kernels)[1]

    def _advance(
        self,
        now: Step,
        due: Any,
        mask: Mask,
        updates: optax.Updates,
        state: SparseState,
        params: Params,
        extra_args: dict[str, Any],
    ) -> tuple[optax.Updates, optax.OptState]:
        """The inner optimizer's step, or none where a mask update takes its place."""
        layout = state.held.layout

        def advance() -> tuple[optax.Updates, optax.OptState]:
            seen = layout.together(self.method.gradients(now), mask)
            seen = trees.merge(seen, updates)
            moves, inner = self.inner.update(seen, state.inner, params, **extra_args)
            if self.method.adjust is not None:
                after = self._after(now, moves, mask, layout, params)
                wanted = layout.together(self.method.adjust(after), mask)
                exact = jax.tree.map(jnp.subtract, wanted, trees.only(mask, params))
                moves = trees.merge(exact, moves)
            return moves, inner

        def stay() -> tuple[optax.Updates, optax.OptState]:
            shapes, _ = jax.eval_shape(advance)
            return optax.tree.zeros_like(shapes), state.inner

        if due is None or not self.skip_update:
            return advance()
        return jax.lax.cond(due, stay, advance)

    def _refresh(
        self,
        now: Step,
        moves: optax.Updates,
        mask: Mask,
        state: SparseState,
        params: Params,
    ) -> SparseState:
        """The state with the new mask, once the optimizer's step is done."""
        layout = state.held.layout
        after = self._after(now, moves, mask, layout, params)
        new, memory = self.method.refresh(after._replace(memory=state.memory))
        dropped = jax.tree.map(lambda a, b: a & ~b, now.mask, new)
        grown = jax.tree.map(lambda a, b: ~a & b, now.mask, new)
        whole = layout.together(new, mask)
        ever = state.ever
        if ever is not None:
            ever = jax.tree.map(jnp.logical_or, packing.unpack(ever), whole)
            ever = self.store(ever)
        return state._replace(
            held=dataclasses.replace(state.held, mask=self.store(whole)),
            memory=memory,
            changes=Changes(_active(dropped), _active(grown)),
            ever=ever,
        )

    def _after(
        self,
        now: Step,
        moves: optax.Updates,
        mask: Mask,
        layout: LayerLayout,
        params: Params,
    ) -> Step:
        """`now` with the weights that the optimizer's step leads to."""
        if self.method.holds:
            moves = hold(mask, moves, params)
        moved = optax.apply_updates(trees.only(mask, params), trees.only(mask, moves))
        return now._replace(
            params=layout.apart(moved),
            network=partial(optax.apply_updates, params, moves),
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


def _look(
    mask: Mask, updates: optax.Updates, state: SparseState, params: Params
) -> Step:
    """What the method sees before the optimizer's step."""
    layout = state.held.layout
    step = jnp.asarray(optax.safe_increment(state.step))
    return Step(
        params=layout.apart(trees.only(mask, params)),
        grads=layout.apart(_gradients(mask, updates)),
        mask=layout.apart(mask),
        step=step,
        key=jax.random.fold_in(state.key, step),
        memory=state.memory,
        network=lambda: params,
        layout=layout,
    )


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
