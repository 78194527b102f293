import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from dst_jax.activations import Tap, apply_with_activations


class Net(nn.Module):
    tapped: bool = True

    @nn.compact
    def __call__(self, x, *, train=False):
        x = nn.relu(nn.Dense(8, name="fc1")(x))
        x = Tap(name="relu1")(x) if self.tapped else x
        x = nn.BatchNorm(use_running_average=not train, name="bn")(x)
        return nn.Dense(2, name="fc2")(x)


class Twice(nn.Module):
    @nn.compact
    def __call__(self, x):
        tap = Tap(name="relu")
        return tap(x) + tap(2 * x)


@pytest.fixture
def x():
    return jax.random.normal(jax.random.key(1), (4, 3))


@pytest.fixture
def variables(x):
    return Net().init(jax.random.key(0), x)


def test_init_returns_no_maps(variables):
    assert set(variables) == {"params", "batch_stats"}


def test_unused_taps_compile_to_the_same_program(variables, x):
    def program(net):
        return jax.jit(net.apply).lower(variables, x).as_text()

    assert program(Net()) == program(Net(tapped=False))


def test_collects_map_output_and_updates(variables, x):
    logits, maps, updated = apply_with_activations(
        Net(), variables, x, train=True, mutable="batch_stats"
    )
    assert list(maps) == ["relu1"]
    assert maps["relu1"].shape == (4, 8)
    assert (maps["relu1"] >= 0).all()
    assert set(updated) == {"batch_stats"}
    expected, _ = Net().apply(variables, x, train=True, mutable=["batch_stats"])
    assert (logits == expected).all()


def test_feeding_maps_back_does_not_accumulate(variables, x):
    _, maps, _ = apply_with_activations(Net(), variables, x)
    stale = {**variables, "activations": {"relu1": {"map": maps["relu1"]}}}
    _, again, _ = apply_with_activations(Net(), stale, x)
    assert (again["relu1"] == maps["relu1"]).all()


def test_gradients_flow_through_collected_maps(variables, x):
    def loss(params):
        _, maps, _ = apply_with_activations(Net(), {**variables, "params": params}, x)
        return maps["relu1"].sum()

    grad = jax.jit(jax.grad(loss))(variables["params"])
    assert jnp.abs(grad["fc1"]["kernel"]).sum() > 0
    assert jnp.abs(grad["fc2"]["kernel"]).sum() == 0


def test_a_tap_called_twice_is_refused(x):
    with pytest.raises(ValueError, match="tap 'relu' was called twice"):
        apply_with_activations(Twice(), {}, x)
