"""A LeNet5 on the bundled digits: trains in a second."""

from functools import partial

import pytest

from dst_jax import data, models, penalties, pruning
from dst_jax.runs import Run
from dst_jax.train import Console, Context, Term, chain, stages


def _optimizer(*, steps, steps_per_epoch, mask, seed):
    del steps, steps_per_epoch, seed
    return chain(0.05, mask=mask)


def _three_stages(epochs=1, strength=1e-4):
    """The paper's pipeline, with a global 60 % of the weights pruned."""
    penalty = Term(penalties.transformed_l1, strength, {"a": 1.0})
    return [
        stages.pretrain(epochs=epochs, optimizer=_optimizer),
        *stages.sparsify_weights(
            prune=partial(pruning.masks.magnitude, sparsity=0.6),
            induce_epochs=epochs,
            finetune_epochs=epochs,
            optimizer=_optimizer,
            penalty=Term(penalties.l1, 1e-4),
            start="pretrain",
        ),
        *stages.sparsify_activations(
            epochs=epochs,
            optimizer=_optimizer,
            penalty=penalty,
            start="sparsify_weights",
        ),
    ]


@pytest.fixture(scope="session")
def three_stages():
    return _three_stages


@pytest.fixture(scope="session")
def optimizer():
    return _optimizer


@pytest.fixture(scope="session")
def digits():
    return data.load("digits", image_size=28)


@pytest.fixture(scope="session")
def make_setup(digits):
    def make(directory, **options):
        defaults = {
            "model": models.create("lenet5", num_classes=10),
            "batch_size": 128,
            "eval_batch_size": 256,
            "log_every": 3,
        }
        return Context(
            dataset=digits,
            run=Run(directory),
            console=Console(quiet=True),
            **(defaults | options),
        )

    return make
