"""What a method declares beside its code, and methods from outside by name."""

import inspect
import sys
from types import SimpleNamespace

import jax.numpy as jnp
import optax
import pytest

from dst_jax import pruning
from dst_jax.pruning import flops, structures

GROUP = SimpleNamespace(size=4, members=[("w", 0, range(4))], roles=["produces"])
NEEDED = {
    "chase": {"groups": {"w": GROUP}, "channel_sparsity": 0.5, "floor": 0.5},
    "srigl": {"output": ()},
    "threshold": {"strength": 0.1, "penalty": jnp.sum, "threshold": 0.1},
    "constrained_l0": {"dual_rate": 0.1},
}
GRADIENTS = {
    "chase": 10,
    "rigl": 10,
    "rigl_itop": 10,
    "granet": 10,
    "east": 10,
    "srigl": 10,
    "ste": 1,
    "sr_ste": 1,
    "auto_sparse": 1,
    "constrained_l0": 1,
}


def _options(name, **options):
    """Everything that the method needs, in a stage of 1000 steps."""
    described = pruning.describe(name)
    lengths = {k: round(1000 * share) for k, share in described.lengths.items()}
    lengths |= {"interval": 10} if "interval" in described.options else {}
    texts = {"structure": structures.by_name} if "structure" in described.texts else {}
    chosen = {k: read(described.texts[k]) for k, read in texts.items()}
    return lengths | chosen | NEEDED.get(name, {}) | options


def _with_target(name, **options):
    takes_it = name not in ("sr_ste", "threshold", "auto_sparse")
    return _options(name, **({"sparsity": 0.5} if takes_it else {}), **options)


@pytest.mark.parametrize("name", pruning.names())
def test_what_is_declared_is_enough_for_a_stage(name):
    described = pruning.describe(name)
    own = inspect.signature(described.build).parameters
    assert {*described.lengths, *described.ends, *described.texts} <= own.keys()
    assert all(0 < share <= 1 for share in described.lengths.values())
    pruning.create(name, optax.sgd(0.1), **_with_target(name))


@pytest.mark.parametrize("name", pruning.names())
def test_structures_that_are_declared_are_taken_and_no_others(name):
    accepted = pruning.describe(name).structures
    if "structure" not in pruning.options(name):
        assert accepted == "none"
        return
    options = _with_target(name, structure=structures.channel("out"))
    if name == "sr_ste":
        options["sparsity"] = 0.5
    pruning.create(name, optax.sgd(0.1), **options)
    options["structure"] = structures.n_m(2, 4)
    if accepted == "any":
        pruning.create(name, optax.sgd(0.1), **options)
        return
    with pytest.raises(ValueError, match="structure must rank units"):
        pruning.create(name, optax.sgd(0.1), **options)
    with pytest.raises(ValueError, match="structure must rank units"):
        pruning.holds(name, **options)


@pytest.mark.parametrize("name", pruning.names())
def test_how_often_gradients_of_all_weights_are_needed(name):
    described = pruning.describe(name)
    options = _with_target(name)
    expected = GRADIENTS.get(name)
    assert described.dense_gradient_every(100, **options) == expected
    after = 1 if expected == 1 else None
    assert described.dense_gradient_every(1001, **options) == after


def test_what_is_grown_decides_whether_gradients_are_needed():
    every = pruning.describe("rigl").dense_gradient_every
    options = {"sparsity": 0.5, "end": 50}
    assert every(10, **options) == 100  # the default interval
    assert every(10, **options, grow="random") is None
    assert every(10, **options, grow=lambda step: step.grads) == 100
    mest = pruning.describe("mest").dense_gradient_every
    assert mest(10, **options) is None
    assert mest(10, **options, grow="gradient") == 1000


def test_a_declaration_names_options_that_exist():
    with pytest.raises(ValueError, match=r"dense has no option \['enb'\]"):

        @pruning.method(ends=["enb"])
        def dense(*, end):
            return pruning.Method(
                lambda params, key: pruning.updates.dense_mask(params)
            )


SOURCE = '''
import jax
from dst_jax import pruning
from dst_jax.pruning import flops

@pruning.method(lengths={"at": 0.5}, ends=["at"], dense_gradients=flops.at_updates)
def checkered(*, at: int, interval: int = 7) -> pruning.Method:
    """Every second weight."""
    def first(params, key):
        return jax.tree.map(
            lambda w: (jax.numpy.arange(w.size) % 2 == 0).reshape(w.shape), params)
    return pruning.Method(first)

def steepest(step):
    return pruning.scores.gradient(step.params, grads=step.grads)

def half(shapes, sparsity):
    return {name: 1 for name in shapes}

pairs = pruning.structures.block((2,))
nothing = 3
'''


@pytest.fixture
def outside(tmp_path, monkeypatch):
    (tmp_path / "methods_from_outside.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "methods_from_outside:"
    sys.modules.pop("methods_from_outside", None)


def test_a_method_from_outside_is_found_wherever_a_name_is_taken(outside):
    name = outside + "checkered"
    assert pruning.options(name)["interval"].default == 7
    assert pruning.holds(name, at=3)
    described = pruning.describe(name)
    assert (described.lengths, described.ends) == ({"at": 0.5}, ("at",))
    assert described.dense_gradients is flops.at_updates
    assert described.dense_gradient_every(5, at=3) == 7
    state = pruning.create(name, optax.sgd(0.1), at=3).init({"w": jnp.ones((2, 2))})
    assert pruning.get_mask(state)["w"].tolist() == [[True, False], [True, False]]
    with pytest.raises(ValueError, match=r"no option \['att'\].*did you mean 'at'"):
        pruning.create(name, optax.sgd(0.1), att=3)


def test_scores_distributions_and_structures_from_outside(outside):
    tx = pruning.rigl(
        optax.sgd(0.1), sparsity=0.5, end=9, interval=1, grow=outside + "steepest",
        distribution=outside + "half", drop_fraction=1.0)  # fmt: skip
    params = {"w": jnp.ones((1, 3))}
    state = tx.init(params)
    _, state = tx.update({"w": jnp.array([[0.0, 2.0, 1.0]])}, state, params)
    assert pruning.get_mask(state)["w"].tolist() == [[False, True, False]]
    assert structures.by_name(outside + "pairs").name == "block(2,)"
    with pytest.raises(ValueError, match="must be a Structure, got 3"):
        structures.by_name(outside + "nothing")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rigel", "method must be one of .*got 'rigel'; did you mean 'rigl'"),
        ("no_such_module:rigl", "method .*there is no module no_such_module"),
        ("dst_jax.pruning:rigel", "has no attribute 'rigel'; did you mean 'rigl'"),
        ("optax:sgd", "method must be made by pruning.method, got"),
    ],
)
def test_unknown_methods_are_named(name, message):
    for call in (pruning.describe, pruning.options, pruning.holds):
        with pytest.raises(ValueError, match=message):
            call(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2:4", structures.n_m(2, 4)),
        ("4x1", structures.block((4, 1))),
        ("channel_in", structures.channel("in")),
        ("channel_out", structures.channel("out")),
        ("constant_fan_in", structures.constant_fan_in()),
        ("unstructured", structures.unstructured()),
    ],
)
def test_structures_by_name(text, expected):
    scores = jnp.arange(8.0).reshape(4, 2)
    found = structures.by_name(text)
    assert found.name == expected.name
    assert (found(scores, 4) == expected(scores, 4)).all()


@pytest.mark.parametrize("text", ["chanel_in", "3by3", "2:", "5:4", "0x1"])
def test_unknown_structures_are_named(text):
    with pytest.raises(ValueError, match=r"structure must be|n must be|shape must be"):
        structures.by_name(text)
