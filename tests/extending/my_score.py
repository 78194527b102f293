"""A score, an option of a method.

A score during training is a function of `pruning.Step`, which has the weights, the
gradients and the mask; the lowest scores are pruned.

COMMAND
  python -m experiments.mnist_lenet5 --preset demo \\
    --run.stages pretrain sparsify_weights --prune.method my_method:lottery \\
    --prune.method-options drop=my_score:smallest_square
"""

import jax


def smallest_square(step):
    """The squares of the weights."""
    return jax.tree.map(lambda w: w**2, step.params)
