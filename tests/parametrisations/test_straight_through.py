"""What the network sees is exact, and gradients pass as if it were what is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import pruning
from dst_jax.parametrisations import State, straight_through
from dst_jax.pruning import structures

METHODS = {
    "ste": lambda tx: pruning.ste(tx, sparsity=0.75),
    "sr_ste": lambda tx: pruning.sr_ste(
        tx, structure=structures.n_m(2, 4), refinement=0.1
    ),
    "auto_sparse": lambda tx: pruning.auto_sparse(tx, end=4, initial=0.0),
    "constrained_l0": lambda tx: pruning.constrained_l0(tx, sparsity=0.5, end=4),
}
MASKED = straight_through(pruning.sparse_params)


def _network():
    """A kernel in bfloat16, one in float32, and a loss."""
    keys = jax.random.split(jax.random.key(0), 3)
    params = {
        "fc1": {"kernel": jax.random.normal(keys[0], (8, 16), jnp.bfloat16)},
        "fc2": {"kernel": jax.random.normal(keys[1], (16, 4)), "bias": jnp.ones(4)},
    }
    x = jax.random.normal(keys[2], (32, 8), jnp.bfloat16)

    def loss(params):
        y = jax.nn.relu(x @ params["fc1"]["kernel"]).astype(jnp.float32)
        y = y @ params["fc2"]["kernel"] + params["fc2"]["bias"][None]
        return (y**2).mean(), y

    return params, loss


def _assert_equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(*map(_raw, (a, b))), found, expected
    )


def _raw(x):
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_training_is_the_same_to_the_bit_as_with_gradients_at_sparse_params(
    method,
):
    params, loss = _network()
    tx = method(optax.sgd(0.05, momentum=0.9))

    @jax.jit
    def by_hand(params, opt_state):
        sparse = pruning.sparse_params(params, opt_state)
        (value, _), grads = jax.value_and_grad(loss, has_aux=True)(sparse)
        updates, opt_state = tx.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value, grads

    @jax.jit
    def through(trained, opt_state):
        state = State(opt_state)
        (value, _), grads = jax.value_and_grad(
            lambda t: loss(MASKED(t, state)), has_aux=True
        )(trained)
        updates, opt_state = tx.update(grads, opt_state, trained)
        return optax.apply_updates(trained, updates), opt_state, value, grads

    expected = found = (params, tx.init(params))
    for _ in range(6):
        found, expected = through(*found[:2]), by_hand(*expected[:2])
        _assert_equal(found, expected)
        assert found[3]["fc1"]["kernel"].dtype == jnp.bfloat16
    trained, opt_state = found[:2]
    for layer, mask in pruning.get_mask(opt_state).items():
        pruned = ~np.asarray(mask["kernel"])
        weights = MASKED(trained, State(opt_state))[layer]["kernel"]
        assert pruned.any()
        assert not np.asarray(weights)[pruned].any()
        assert np.asarray(trained[layer]["kernel"])[pruned].any()


def test_the_forward_value_is_that_of_the_function_where_rounding_would_lose_it():
    trained = jnp.array([1e-8, 1.0, 3e38, -0.0], jnp.float32)
    read = straight_through(lambda w, opt_state: w + opt_state)
    moved = jnp.array([1e8, 1e-8, 0.0, 0.0])
    _assert_equal(read(trained, State(moved)), trained + moved)
    grads = jax.grad(lambda w: read(w, State(moved)).sum())(trained)
    assert grads.tolist() == [1.0] * 4


def test_nothing_flows_through_the_function_itself():
    read = straight_through(lambda w, opt_state: 5 * w**2)
    grads = jax.grad(lambda w: (read(w, State()) ** 2).sum())(jnp.array([1.0, -2.0]))
    assert grads.tolist() == [10.0, 40.0]
    hessian = jax.hessian(lambda w: (read(w, State()) ** 2).sum())(jnp.array([3.0]))
    assert hessian.tolist() == [[2.0]]


def test_a_function_that_reads_no_state_needs_none():
    rounded = straight_through(lambda w, _: jnp.round(w))
    assert rounded(jnp.array([0.6]), ()).tolist() == [1.0]
    assert rounded.finish(jnp.array([0.6]), ()).tolist() == [1.0]


def test_the_function_may_change_the_dtype():
    read = straight_through(lambda w, _: w.astype(jnp.bfloat16))
    w = jnp.array([1.001, 2.0])
    assert read(w, State()).dtype == jnp.bfloat16
    grads = jax.grad(lambda w: read(w, State()).astype(jnp.float32).sum())(w)
    assert grads.dtype == jnp.float32
    assert grads.tolist() == [1.0, 1.0]


def test_integers_keys_and_none_pass():
    trained = {
        "w": jnp.ones(2),
        "n": jnp.arange(2),
        "key": jax.random.key(0),
        "x": None,
    }
    read = straight_through(lambda t, _: {**t, "w": 2 * t["w"]})

    def loss(t):
        weights = read(t, State())
        return (weights["w"] * weights["n"]).sum()

    grads = jax.grad(loss, allow_int=True)(trained)
    assert grads["w"].tolist() == [0.0, 1.0]


def test_another_container_with_the_same_names_passes():
    read = straight_through(lambda t, _: dict(t))
    grads = jax.grad(lambda t: 3 * read(t, State())["w"].sum())(
        optax.tree.zeros_like({"w": jnp.ones(2)})
    )
    assert grads["w"].tolist() == [3.0, 3.0]


def test_what_does_not_fit_is_refused():
    with pytest.raises(TypeError, match="read"):
        straight_through(3)
    trained = {"a": jnp.ones(2), "b": jnp.ones(2)}
    for read in (lambda t, _: {"a": t["a"]}, lambda t, _: {**t, "b": jnp.ones(3)}):
        with pytest.raises(ValueError, match=r"leaves and shapes.*; b differ"):
            straight_through(read)(trained, State())
