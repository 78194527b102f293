import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax.train import chain, learning_rate


def test_warm_up_then_cosine_to_zero():
    schedule = learning_rate(0.4, steps=110, warmup=10)
    assert schedule(0) == pytest.approx(0.04)
    assert schedule(10) == pytest.approx(0.4)
    assert schedule(60) == pytest.approx(0.2)
    assert schedule(110) == pytest.approx(0.0)


def test_steps_count_from_the_start_of_the_stage():
    schedule = learning_rate(1.0, steps=100, decay="step", warmup=20, factor=0.5)
    values = [float(schedule(t)) for t in (20, 49, 51, 74, 76)]
    assert values == pytest.approx([1.0, 1.0, 0.5, 0.5, 0.25])


def test_accumulation_equals_the_mean_gradient():
    params = {"w": jnp.array([[1.0, 2.0]])}
    grads = [{"w": jnp.array([[1.0, 0.0]])}, {"w": jnp.array([[0.0, 3.0]])}]
    plain, twice = chain(0.1), chain(0.1, accumulate=2)
    mean = {"w": (grads[0]["w"] + grads[1]["w"]) / 2}
    expected, _ = plain.update(mean, plain.init(params), params)
    state = twice.init(params)
    first, state = twice.update(grads[0], state, params)
    second, _ = twice.update(grads[1], state, params)
    assert (first["w"] == 0).all()
    np.testing.assert_allclose(second["w"], expected["w"], rtol=1e-6)


@pytest.mark.parametrize("rule", ["sgd", "adamw"])
def test_weight_decay_leaves_vectors_alone(rule):
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    zero = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
    tx = chain(0.1, rule=rule, weight_decay=0.5)
    updates, _ = tx.update(zero, tx.init(params), params)
    moved = optax.apply_updates(params, updates)
    assert (moved["kernel"] < 1).all()
    assert (moved["bias"] == 1).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: learning_rate(0.0, steps=1), "peak must be > 0, got 0.0"),
        (
            lambda: learning_rate(0.1, steps=1, warmup=2),
            r"warmup must be in \[0, steps",
        ),
        (lambda: learning_rate(0.1, steps=9, milestones=(1.5,)), "milestones must be"),
        (lambda: chain(0.1, accumulate=0), "accumulate must be at least 1, got 0"),
    ],
)
def test_bad_values_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
