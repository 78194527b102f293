"""A score: `--prune.method-options drop=my_score:smallest_square`.

A score during training is a function of `pruning.Step`, which has the weights, the
gradients and the mask; the lowest scores are pruned.
"""

import jax


def smallest_square(step):
    """The squares of the weights."""
    return jax.tree.map(lambda w: w**2, step.params)
