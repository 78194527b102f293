"""Sparse training: any method of `dst_jax.pruning` as one stage."""

from collections.abc import Callable
from contextlib import nullcontext

from dst_jax.train.objective import Objective
from dst_jax.train.optimizer import Optimizer
from dst_jax.train.stage import Stage
from dst_jax.train.stages.dual_sparse import title
from dst_jax.train.stages.hooks import Prune, RemoveUnread, choose_mask, no_mask
from dst_jax.train.terms import Term
from dst_jax.typing import Within

__all__ = ["sparse_training"]


def sparse_training(
    *,
    method: str,
    epochs: float,
    optimizer: Optimizer,
    start: str | None,
    mask: Prune | None = None,
    activation: Term | None = None,
    flops_aware: bool = False,
    groups: str | None = None,
    dense_gradients: Callable[..., bool] | None = None,
    within: Within = nullcontext,
) -> Stage:
    """A method of `dst_jax.pruning` in place of stage two of the paper.

    What is evaluated and handed on is sparse, also where the method trains dense
    weights.

    Args:
      method: its name, which becomes the stage's phase.
      epochs: length of the stage.
      optimizer: the optimizer with the method around it, see `chain(sparsify=...)`.
      start: name of the stage to start from.
      mask: the method's first mask, from the weights the stage starts with; None lets
        the method choose it.
      activation: a term over activation maps, which makes the stage
        `sparsify_jointly`; or None.
      flops_aware: as in `Stage`, for that term.
      groups: for a method that removes channels, such as Chase: which groups lose the
        units that no weight reads in the end, "inner", "all" or a regex. What is handed
        on is then a smaller network with the same outputs. None removes nothing.
      dense_gradients, within: as in `Stage`.

    >>> import optax
    >>> from dst_jax import pruning
    >>> def rigl(*, steps, steps_per_epoch, mask, seed):
    ...     return pruning.rigl(optax.sgd(0.1), sparsity=0.9, end=steps, seed=seed)
    >>> sparse_training(method="rigl", epochs=9, optimizer=rigl, start=None).path
    'sparsify_weights.rigl'
    """
    name = "sparsify_weights" if activation is None else "sparsify_jointly"
    return Stage(
        name=name,
        phase=method,
        title=title(name, start),
        epochs=epochs,
        optimizer=optimizer,
        objective=Objective(terms=() if activation is None else (activation,)),
        on_entry=no_mask if mask is None else choose_mask(mask),
        on_exit=None if groups is None else RemoveUnread(groups),
        start=start,
        flops_aware=flops_aware,
        dense_gradients=dense_gradients,
        within=within,
    )
