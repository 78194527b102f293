"""A stage: `--run.stages pretrain my_stage:shaken --stage.options size=0.1 times=2`.

A stage is made by a function that returns a `train.Stage`, or a list of its phases. The
function is given what it has a parameter for: `epochs`, `optimizer` (`--stage.epochs`,
`--stage.lr`), `start`, the name of the stage before it, `prunable`; and its options.
"""

import dataclasses

import jax
import jax.numpy as jnp

from dst_jax.train import Objective, Stage, Term


def squares(trained):
    """A term over all that is trained, as a function of it."""
    return sum(jnp.sum(w**2) for w in jax.tree.leaves(trained))


def shaken(*, epochs, optimizer, start, size, times=1):
    """Adds noise to the weights and trains them on, so many times."""

    def shake(network):
        leaves, structure = jax.tree.flatten(network.params)
        keys = jax.random.split(jax.random.key(0), len(leaves))
        noisy = [
            w + size * jax.random.normal(key, w.shape)
            for key, w in zip(keys, leaves, strict=True)
        ]
        return network.with_params(structure.unflatten(noisy))

    first = Stage(
        name="shaken",
        phase="1",
        title="after noise",
        epochs=epochs,
        optimizer=optimizer,
        objective=Objective(terms=(Term(squares, 1e-3, over="trained"),)),
        on_entry=shake,
        start=start,
    )
    more = [str(i) for i in range(2, times + 1)]
    return [first, *(dataclasses.replace(first, phase=i, start=None) for i in more)]
