import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import activations, cost, models, penalties, pruning
from dst_jax.train import Objective, Target, Term, stages
from dst_jax.train.flops_aware import flops_aware
from dst_jax.train.state import init_network


@pytest.fixture(scope="module")
def lenet():
    return models.create("lenet5", num_classes=10)


@pytest.fixture(scope="module")
def pruned(lenet):
    network = init_network(lenet, jnp.zeros((1, 28, 28, 1)), jax.random.key(0))
    mask = pruning.masks.magnitude(network.params, 0.6)
    pruned = network.with_params(pruning.masks.apply(mask, network.params))
    return pruned._replace(mask=mask)


EXAMPLE = jnp.zeros((1, 28, 28, 1))


@pytest.mark.slow
def test_the_l0_penalty_is_the_count_of_multiplications(lenet, pruned):
    """Where no pooling lies between, a nonzero costs exactly its products."""
    term = flops_aware(Term(penalties.l0, 1.0), pruned, EXAMPLE)
    x = jax.random.uniform(jax.random.key(1), (3, 28, 28, 1))
    variables = {"params": pruned.params}
    _, maps, _ = activations.apply_with_activations(lenet, variables, x)
    rules = dict(zip(term.layers, term.layer_weights, strict=True))
    assert list(rules) == [f"^{name}$" for name in maps]
    counts = jax.jit(cost.count(lambda v, x: lenet.apply(v, x)))(variables, x)
    scale = float(rules["^relu3$"].sum()) / int(
        (pruned.params["fc2"]["kernel"] != 0).sum()
    )
    own = {"relu3": maps["relu3"], "relu4": maps["relu4"]}
    value = penalties.total(
        own, penalties.l0, weights=[(name, rules[f"^{name}$"]) for name in own]
    )
    expected = sum(int(counts[name].effectual) for name in ("fc2", "fc3")) / 3
    np.testing.assert_allclose(float(value) / scale, expected, rtol=1e-5)


@pytest.mark.slow
def test_weights_have_mean_one_and_the_shape_of_a_map(pruned):
    term = flops_aware(Term(penalties.l1, 1.0), pruned, EXAMPLE)
    flat = np.concatenate([np.ravel(w) for w in term.layer_weights])
    np.testing.assert_allclose(flat.mean(), 1.0, rtol=1e-5)
    assert [w.shape for w in term.layer_weights] == [
        (24, 24, 6),
        (8, 8, 16),
        (120,),
        (84,),
    ]


def test_layer_weights_of_ones_own_are_refused(pruned):
    with pytest.raises(ValueError, match="got layers \\('relu1',\\)"):
        flops_aware(Term(penalties.l1, 1.0, {}, ("relu1",), (2.0,)), pruned, EXAMPLE)


@pytest.mark.slow
def test_a_stage_with_a_target_reaches_it(make_setup, optimizer, tmp_path):
    """From a strength that does nothing, within the bound on the loss."""
    from dst_jax.train import train

    context = make_setup(tmp_path / "run")
    target = Target(sparsity=0.8, max_loss=1.0, gain=0.3)
    plan = [
        stages.pretrain(epochs=8, optimizer=optimizer),
        *stages.sparsify_activations(
            epochs=15,
            optimizer=optimizer,
            penalty=Term(penalties.l1, 1e-6),
            start="pretrain",
            target=target,
            flops_aware=True,
        ),
    ]
    before, after = train(context, plan, config={})["stages"]
    lines = [m for m in context.run.read_metrics() if "penalised_sparsity" in m]
    assert lines[0]["penalised_sparsity"] < 0.7
    assert lines[0]["strength"] < 1e-5 < lines[-1]["strength"]
    assert abs(lines[-1]["penalised_sparsity"] - 0.8) < 0.05
    assert after["flops_drop"]["dense"] > before["flops_drop"]["dense"] + 0.05
    assert after["top1"] > before["top1"] - 0.05


def test_a_strength_rises_along_half_a_sine():
    term = Term(penalties.l1, 2.0, warmup=4.0, ramp="sine")
    maps = {"relu": jnp.ones((1, 3))}
    at = [0.0, 1.0, 2.0, 4.0, 9.0]
    values = [float(term(maps, epoch=e, batched=True)) for e in at]
    strength = activations.sine_stages([0.0, 2.0], [0, 4])
    np.testing.assert_allclose(values, [3 * float(strength(e)) for e in at], rtol=1e-6)


def test_a_strength_warms_up():
    term = Term(penalties.l1, 2.0, warmup=4.0)
    maps = {"relu": jnp.ones((1, 3))}
    values = [float(term(maps, epoch=e, batched=True)) for e in (0.0, 1.0, 4.0, 9.0)]
    assert values == [0.0, 1.5, 6.0, 6.0]
    assert float(Term(penalties.l1, 2.0)(maps, epoch=0.0, batched=True)) == 6.0


def test_without_a_target_nothing_is_measured():
    objective = Objective(terms=(Term(penalties.l1, 2.0),))
    assert objective.start() is None
    assert objective.adapt(None, {}) is None
    assert objective.adapted(None) is objective
