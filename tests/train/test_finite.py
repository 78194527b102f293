"""A network that is not finite is an error wherever it is found; it is never saved."""

import jax
import jax.numpy as jnp
import optax
import pytest

from dst_jax import models, train
from dst_jax.train.finite import check_tree
from dst_jax.train.integrity import numbered
from dst_jax.train.stages import Stage


@pytest.fixture
def context(make_setup, tmp_path):
    mlp = models.create("mlp", num_classes=10, hidden=(8,))
    return make_setup(tmp_path, model=mlp, log_every=100)


def _broken(network, value):
    params = jax.tree.map(lambda x: x.at[(0,) * x.ndim].set(value), network.params)
    return network.with_params(params)


def test_the_last_update_counts(context):
    def overflowing(*, steps, **_):
        return optax.scale_by_schedule(
            lambda t: jnp.where(t == steps - 1, jnp.inf, -0.05)
        )

    stage = Stage(name="pretrain", epochs=2, optimizer=overflowing)
    with pytest.raises(train.NonFiniteNetwork, match="is not finite at step 16") as e:
        train.train(context, [stage], config={})
    checkpoints = numbered(context.run.checkpoints / "pretrain")
    assert [path.name for path in checkpoints] == ["8"]
    where = f"pretrain: the last good checkpoint is {checkpoints[0]}"
    assert where in str(e.value)
    assert context.run.read_stage("pretrain") is context.run.read_summary() is None


def test_an_evaluation_counts(context):
    def huge(*, steps, **_):  # finite weights, whose products are not
        return optax.scale_by_schedule(lambda t: jnp.where(t == steps - 1, 1e36, 0))

    stage = Stage(name="pretrain", epochs=1, optimizer=huge)
    with pytest.raises(
        train.NonFiniteNetwork, match=r"loss is nan at step 8\. pretrain"
    ):
        train.train(context, [stage], config={})
    assert not numbered(context.run.checkpoints / "pretrain")


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf])
def test_given_weights_count(context, optimizer, value):
    given = _broken(context.fresh_weights(), value)
    with pytest.raises(train.NonFiniteNetwork, match=r"at step 0\. initial: no checkp"):
        train.train(context, [train.stages.initial(optimizer)], config={}, init=given)
    with pytest.raises(train.NonFiniteNetwork, match="params/fc1/bias, params/fc1/k"):
        context.evaluate(given, context.dataset.test, count=False)


def test_leaves_that_are_no_numbers_are_passed_over(context):
    tree = {"mask": jnp.array([True]), "key": jax.random.key(0), "n": jnp.array(3)}
    check_tree(tree, context.mesh)
