"""Methods of sparse training from texts."""

import jax
import jax.numpy as jnp
import optax
import pytest

from dst_jax import channels, penalties, pruning
from dst_jax.pruning import structures
from experiments.options.methods import Span, parse

NEEDED = {"srigl": ["output=fc"], "threshold": ["strength=1e-4"]}
PARAMS = {f"fc{i}": {"kernel": jnp.ones((8, 4))} for i in range(4)}


def _around(method, updates=100):
    sparsify = method.around(
        updates=updates, per_epoch=10, seed=0, schedule=optax.constant_schedule(0.1)
    )
    return sparsify(optax.sgd(0.1), None)


@pytest.mark.parametrize("name", pruning.names())
def test_every_method_has_lengths_for_any_stage(name):
    method = parse(name, NEEDED.get(name, ()), target=0.5)
    for updates in (10, 1000):
        state = jax.eval_shape(_around(method, updates).init, PARAMS)
        assert state.ever is not None
    options = method.resolved(updates=10, per_epoch=10)
    assert method.description.holds(**options) != (
        name in ("ste", "sr_ste", "auto_sparse", "constrained_l0")
    )


def test_lengths_are_steps_shares_or_epochs():
    texts = ["end=75%", "interval=0.5ep", "drop_fraction=0.5", "decay=linear"]
    method = parse("rigl", texts, target=0.9)
    assert method.options["end"] == Span(0.75, "share")
    assert method.resolved(updates=50, per_epoch=10) == {
        "end": 37,
        "interval": 5,
        "drop_fraction": 0.5,
        "decay": "linear",
        "sparsity": 0.9,
        "track": True,
    }
    assert parse("rigl", ["end=7"], target=0.9).options["end"] == 7
    lengths = {"updates": 100, "per_epoch": 10}
    assert Span(0.29, "share").steps(**lengths) == 29
    assert Span(0.001, "share").steps(**lengths) == 1
    assert Span(0.0, "share").steps(**lengths) == 0


def test_structures_penalties_and_regexes_by_name():
    n_m = parse("sr_ste", ["structure=1:4"]).options
    assert n_m["structure"].name == structures.n_m(1, 4).name
    assert n_m["sparsity"] == 0.75
    assert parse("gradual_magnitude", ["structure=2:4"]).options["sparsity"] == 0.5
    block = parse("rigl", ["structure=4x1"], target=0.5).options["structure"]
    assert block.name == structures.block((4, 1)).name
    assert parse("srigl", ["output=fc,head"], target=0.5).options["output"] == (
        "fc",
        "head",
    )
    threshold = ["strength=1e-3", "threshold=0.1"]
    induced = parse("threshold", threshold, target=0.5).options
    assert induced["penalty"] is penalties.l1
    assert "sparsity" not in induced
    proximal = parse("threshold", [*threshold, "prox=l1"])
    assert proximal.options["penalty"] is None
    steps = proximal.resolved(updates=10, per_epoch=10)
    assert proximal.description.holds(**steps, step_size=0.1)
    assert jax.eval_shape(_around(proximal).init, PARAMS).held is not None


@pytest.mark.parametrize(
    ("name", "texts", "message"),
    [
        ("rigl2", [], r"method must be one of .*got 'rigl2'"),
        ("rigl", ["alpha=0.3"], "rigl has no option 'alpha'; it takes .*'interval'"),
        ("rigl", ["mask=none"], "rigl has no option 'mask'"),
        ("halo", ["coefficients=sgd"], "halo has no option 'coefficients'"),
        ("rigl", ["end"], "'end' must be NAME=VALUE"),
        ("rigl", ["sparsity=1.5"], r"sparsity must be in \[0, 1\), got 1.5"),
        ("rigl", ["sparsity=high"], "rigl: .*'str'"),
        ("rigl", ["interval=-2ep"], "interval must be >= 0 and finite, got -2ep"),
        ("rigl", ["interval=0"], "interval must be a finite number >= 1, got 0"),
        ("rigl", ["structure=3by3"], "structure must be one of .*got '3by3'"),
        ("rigl", ["decay=slow"], "decay must be one of"),
        ("srigl", [], r"srigl needs \['output'\]"),
        ("threshold", ["strength=1", "penalty=l7"], "got 'l7'"),
    ],
)
def test_bad_texts_are_refused(name, texts, message):
    with pytest.raises(ValueError, match=message):
        parse(name, texts, target=0.9)


def test_what_ends_after_the_stage_is_refused_once_its_length_is_known():
    method = parse("granet", ["prune_end=120", "end=130"], target=0.9)
    _around(method, updates=130)
    with pytest.raises(ValueError, match="end must be at most the 100 optimizer steps"):
        _around(method, updates=100)


def test_a_method_that_removes_channels_is_given_their_groups():
    def net(weights, x):
        return x @ weights["fc0"] @ weights["fc1"] @ weights["fc2"]

    shapes = {"fc0": (4, 8), "fc1": (8, 8), "fc2": (8, 2)}
    weights = {name: jnp.ones(shape) for name, shape in shapes.items()}
    groups = channels.groups(net)(weights, jnp.ones((1, 4)))
    lengths = {"updates": 1000, "per_epoch": 100}
    method = parse("chase", ["groups=1$", "score=l1", "channel_end=8ep"], target=0.5)
    options = method.resolved(**lengths, groups=lambda: groups)
    assert list(options["groups"]) == ["fc1"]
    assert options["score"] is channels.scores.l1
    assert (options["channel_end"], options["explore_end"]) == (800, 800)
    assert (options["channel_sparsity"], options["floor"]) == (0.4, 0.2)
    inner = parse("chase", target=0.5).resolved(**lengths, groups=lambda: groups)
    assert list(inner["groups"]) == ["fc0", "fc1"]
    assert parse("rigl", target=0.5).groups is None
    for text, message in (
        ("score=taylor", "score must be a function of weights and groups alone"),
        ("score=l3", "score must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            parse("chase", [text], target=0.5)
    wrong = parse("chase", ["groups=conv"], target=0.5)
    with pytest.raises(ValueError, match="groups 'conv' are none of: fc0, fc1"):
        wrong.resolved(**lengths, groups=lambda: groups)
