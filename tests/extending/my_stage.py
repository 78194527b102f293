"""A stage.

A stage is made by a function that returns a `train.Stage`, or a list of its phases. It
is given what it has a parameter for of `epochs`, `optimizer` (of `--stage.epochs` and
`--stage.lr`), `start` (the stage before it), `prunable` and `--stage.options`.

COMMAND
  python -m experiments.mnist_lenet5 --preset demo \\
    --run.stages pretrain my_stage:shrink --stage.options sparsity=0.3
"""

from functools import partial

import jax.numpy as jnp

from dst_jax import penalties, pruning
from dst_jax.train import Objective, Stage, Term


def shrink(*, epochs, optimizer, start, sparsity, strength=1e-4):
    """Trains with an l1 penalty on the weights that rises, then drops small ones."""
    term = Term(penalties.l1, strength, over="weights", schedule=_risen, name="pull")
    return Stage(
        name="shrink",
        title="shrunken",
        epochs=epochs,
        optimizer=optimizer,
        objective=Objective(terms=(term,)),
        on_exit=partial(_drop, sparsity=sparsity),
        start=start,
    )


def _risen(step):
    """A factor on the strength at a step of the stage."""
    return jnp.minimum(step / 2, 1.0)


def _drop(network, *, sparsity):
    """The network that is handed on: what follows trains with its mask."""
    mask = pruning.masks.magnitude(network.params, sparsity)
    params = pruning.masks.apply(mask, network.params)
    return network._replace(
        variables={**network.variables, "params": params}, mask=mask
    )
