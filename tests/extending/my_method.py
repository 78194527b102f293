"""A method of sparse training.

A method is a function of keyword-only options that returns a `pruning.Method`. What it
declares in the decorator is what commands ask about it: `lengths` are shares of the
stage, `ends` are steps that must come before its end.

COMMAND
  python -m experiments.mnist_lenet5 --preset demo \\
    --run.stages pretrain sparsify_weights --prune.method my_method:lottery \\
    --prune.method-options at=50%
"""

from dst_jax import pruning
from dst_jax.pruning import distributions, schedules, updates


@pruning.method(lengths={"at": 0.5}, ends=["at"])
def lottery(*, sparsity, at, drop="magnitude"):
    """Prunes at step `at` by the score `drop`, everywhere at once."""
    score = updates.importance("drop", drop)
    share_out = distributions.by_name("global")

    def refresh(step):
        return updates.prune(score(step), step.mask, sparsity, share_out), step.memory

    return pruning.Method(
        first=lambda params, key: updates.dense_mask(params),
        refresh=refresh,
        due=schedules.every(1, start=at, end=at, at_end=True),
    )
