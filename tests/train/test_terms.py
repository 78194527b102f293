"""Any number of terms, over maps, weights and what is trained."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import kernels, models, penalties, pruning, train
from dst_jax.train import Objective, Stage, Target, Term, make_train_step, tasks
from dst_jax.train.state import enter, init_network


@pytest.fixture(scope="module")
def model():
    return models.create("mlp", num_classes=10, hidden=(16, 12))


@pytest.fixture(scope="module")
def batch():
    images = jax.random.normal(jax.random.key(0), (8, 6, 6, 1))
    return {"image": images, "label": jnp.arange(8, dtype=jnp.int32)}


@pytest.fixture(scope="module")
def network(model, batch):
    return init_network(model, batch["image"][:1], jax.random.key(1))


def squares(trained):
    return sum((w**2).sum() for w in jax.tree.leaves(trained))


def _objective(l1=1e-2, l2=1e-3, maps=1e-2, trained=1e-4, a=1.0, share=0.5):
    first = (("fc1/kernel", True), ("", False))
    return Objective(
        terms=(
            Term(penalties.l1, l1, over="weights", prunable=first),
            Term(penalties.transformed_l1, l2, {"a": a}, over="weights"),
            Term(penalties.l1, maps, {}, ("relu1",), (share,)),
            Term(squares, trained, over="trained", name="decay"),
        )
    )


@pytest.mark.slow
def test_every_term_has_its_part(model, network, batch):
    step = make_train_step(model, optax.sgd(0.1), preprocess=lambda x: x)
    state = jax.tree.map(jnp.copy, enter(network, optax.sgd(0.1), jax.random.key(0)))
    _, metrics = step(state, batch, _objective())
    parts = ["weight_penalty", "weight_penalty_2", "activation_penalty", "decay"]
    names = ["loss", "cross_entropy", *parts, "accuracy"]
    assert list(metrics) == names or set(metrics) == set(names)
    total = sum(metrics[name] for name in ("cross_entropy", *parts))
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-6)
    params = network.params
    first = float(jnp.abs(params["fc1"]["kernel"]).sum())
    np.testing.assert_allclose(metrics["weight_penalty"], 1e-2 * first, rtol=1e-5)
    layers = pruning.masks.prunable(params)
    every = sum(
        float(penalties.transformed_l1(w, a=1.0)) for w in jax.tree.leaves(layers)
    )
    np.testing.assert_allclose(metrics["weight_penalty_2"], 1e-3 * every, rtol=1e-5)
    maps = network.model(network.variables, batch["image"])[1]
    wanted = penalties.total(maps, penalties.l1, weights=[("relu1", 0.5)])
    np.testing.assert_allclose(metrics["activation_penalty"], 1e-2 * wanted, rtol=1e-5)
    np.testing.assert_allclose(metrics["decay"], 1e-4 * squares(params), rtol=1e-5)


def test_their_numbers_do_not_compile_again(model, network, batch):
    step = make_train_step(model, optax.sgd(0.1), preprocess=lambda x: x)
    losses = set()
    for objective in (
        _objective(),
        _objective(l1=0.0, l2=1e-1, a=0.5),
        _objective(maps=1.0, share=0.0, trained=1.0),
    ):
        state = enter(network, optax.sgd(0.1), jax.random.key(0))
        _, metrics = step(jax.tree.map(jnp.copy, state), batch, objective)
        losses.add(float(metrics["loss"]))
    assert len(losses) == 3
    assert step._cache_size() == 1


def test_terms_over_weights_see_the_kernels_of_the_trace():
    """A bias of two axes is no kernel, whatever its name."""
    weights = {"a": jnp.ones((2, 3)), "b": jnp.ones((1, 3))}

    def forward(weights, x):
        return x @ weights["a"] + weights["b"]

    found = kernels.by_use(forward)(weights, jnp.ones((4, 2)))
    objective = Objective(
        terms=(Term(penalties.l1, 1.0, over="weights"),), task=tasks.classification()
    )
    outputs, labels = jnp.zeros((4, 3)), jnp.zeros(4, jnp.int32)
    values = [
        objective(outputs, labels, maps={}, weights=weights, kernels=k)[1]
        for k in (None, found)
    ]
    assert [float(v["weight_penalty"]) for v in values] == [9.0, 6.0]


def test_several_strengths_adapt_themselves(model, network, batch):
    """Each to its own target; the only one keeps the names that it has always had."""
    target = Target(0.9, max_loss=10.0, gain=1.0)
    maps = Term(penalties.l1, 1e-3, target=target)
    weights = Term(
        penalties.l1, 1e-2, over="weights", target=replace(target, sparsity=0.0)
    )
    one, two = Objective(terms=(maps,)), Objective(terms=(maps, weights))
    tx = optax.sgd(0.01)
    step = make_train_step(model, tx, preprocess=lambda x: x)
    for objective, extra in ((one, ()), (two, ("_2",))):
        state = enter(network, tx, jax.random.key(0), objective.start())
        state = jax.tree.map(jnp.copy, state)
        for _ in range(3):
            state, metrics = step(state, batch, objective)
        expected = {f"{k}{n}" for k in ("strength", "penalised_sparsity")
                    for n in ("", *extra)}  # fmt: skip
        assert {k for k in metrics if k.startswith(("stre", "penalised"))} == expected
        assert float(metrics["strength"]) > 1e-3
    assert float(metrics["penalised_sparsity_2"]) == 0.0
    assert float(metrics["strength_2"]) == pytest.approx(1e-2)


@pytest.mark.slow
def test_several_strengths_are_restored(make_setup, model, optimizer, tmp_path):
    target = Target(0.9, max_loss=10.0, gain=1.0)
    terms = (
        Term(penalties.l1, 1e-5, target=target),
        Term(penalties.l1, 1e-6, over="weights", target=target),
    )
    stage = Stage(
        name="adaptive",
        epochs=2,
        optimizer=optimizer,
        objective=Objective(terms=terms),
    )
    context = make_setup(tmp_path, model=model)
    whole = train.train(context, [stage], config={})
    for name in ("summary.json", "stages/adaptive.json"):
        (context.run.path / name).unlink()
    again = train.train(context, [stage], config={})
    assert again["params_sha256"] == whole["params_sha256"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"over": "activations"}, "over must be one of"),
        ({"ramp": "cosine"}, "ramp must be one of"),
        ({"over": "trained", "layers": ("a",)}, r"partial\(penalties.total"),
        ({"over": "trained", "target": Target(0.5, 1.0)}, "a target is a sparsity of"),
    ],
)
def test_terms_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Term(penalties.l1, 1.0, **options)


def test_a_name_that_is_taken_is_refused():
    objective = Objective(
        terms=(Term(squares, 1.0, over="trained", name="cross_entropy"),),
        task=tasks.classification(),
    )
    with pytest.raises(ValueError, match="name of a term is taken: 'cross_entropy'"):
        objective(jnp.zeros((1, 2)), jnp.zeros(1, jnp.int32), maps={}, weights={})


def test_an_objective_without_a_task_says_so():
    with pytest.raises(ValueError, match="has no task"):
        Objective()(jnp.zeros((1, 2)), jnp.zeros(1, jnp.int32), maps={}, weights={})


def test_flops_aware_needs_a_term_over_maps(make_setup, model, optimizer, tmp_path):
    stage = Stage(
        name="s",
        epochs=1,
        optimizer=optimizer,
        objective=Objective(terms=(Term(penalties.l1, 1.0, over="weights"),)),
        flops_aware=True,
    )
    context = make_setup(tmp_path, model=model)
    with pytest.raises(ValueError, match="stage s: flops_aware needs a term over maps"):
        train.train(context, [stage], config={})
