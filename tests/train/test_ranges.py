"""Numbers of a training that Python gives are refused before anything is trained."""

from dataclasses import replace

import jax
import pytest

from dst_jax import data, models, penalties
from dst_jax.runs import Run
from dst_jax.train import Console, Context, Stage, Term, chain, learning_rate
from dst_jax.train.pipeline import rehearse


def _context(**options):
    defaults = {"batch_size": 128, "eval_batch_size": 256}
    return Context(
        model=models.create("mlp", num_classes=10, hidden=(8,)),
        dataset=data.load("digits"),
        run=Run("runs/never"),
        console=Console(quiet=True),
        **(defaults | options),
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, r"seed must be in \[0, 2\*\*32\), got -1"),
        ({"seed": 2**32}, r"seed must be in \[0, 2\*\*32\), got 4294967296"),
        ({"log_every": 0}, "log_every must be a finite number >= 1, got 0"),
        ({"eval_every": 0}, "eval_every must be a finite number >= 1, got 0"),
        ({"save_every": -1}, "save_every must be a finite number >= 0, got -1"),
    ],
)
def test_a_context(options, message):
    with pytest.raises(ValueError, match=message):
        _context(**options)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip": -1.0}, "clip must be > 0 and finite, got -1.0"),
        ({"clip": 0.0}, "clip must be > 0 and finite, got 0.0"),
        ({"clip": NAN}, "clip must be > 0 and finite, got nan"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        ({"momentum": NAN}, "momentum must be in"),
        ({"weight_decay": -1.0}, "weight_decay must be a finite number >= 0, got -1.0"),
        ({"weight_decay": INF}, "weight_decay must be a finite number >= 0, got inf"),
        ({"accumulate": 2**31}, "accumulate must be at least 1, got 2147483648"),
    ],
)
def test_a_chain(options, message):
    with pytest.raises(ValueError, match=message):
        chain(0.1, **options)


@pytest.mark.parametrize(
    ("peak", "options", "message"),
    [
        (INF, {}, "peak must be > 0 and finite, got inf"),
        (NAN, {}, "peak must be > 0, got nan"),
        (0.1, {"factor": -1.0}, "factor must be > 0 and finite, got -1.0"),
        (0.1, {"factor": NAN}, "factor must be > 0 and finite, got nan"),
        (0.1, {"milestones": (NAN,)}, "milestones must be in"),
    ],
)
def test_a_learning_rate(peak, options, message):
    with pytest.raises(ValueError, match=message):
        learning_rate(peak, steps=10, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": -1.0}, "strength must be a finite number >= 0, got -1.0"),
        ({"strength": NAN}, "strength must be a finite number >= 0, got nan"),
        ({"warmup": INF}, "warmup must be a finite number >= 0, got inf"),
        ({"layer_weights": (1, -1.0)}, "layer_weights must be a finite number >= 0"),
        ({"layer_weights": (NAN,)}, "layer_weights must be a finite number >= 0"),
    ],
)
def test_a_term(options, message):
    defaults = {"strength": 1.0, "layers": ("relu1", "relu2")}
    with pytest.raises(ValueError, match=message):
        Term(penalties.l1, **(defaults | options))


def _stage(**options):
    defaults = {"name": "a", "epochs": 1, "optimizer": lambda **_: chain(0.1)}
    return Stage(**(defaults | options))


@pytest.mark.parametrize("epochs", [-1, NAN, INF])
def test_the_length_of_a_stage(epochs):
    with pytest.raises(ValueError, match="a: epochs must be >= 0 and finite, got"):
        _stage(epochs=epochs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0.01}, "epochs must be 0, or 1 to .* 0.01 epochs of 8 steps"),
        ({"epochs": 1e12}, "epochs must be 0, or 1 to 2147483647 steps long"),
    ],
)
def test_the_steps_of_a_stage(options, message):
    context = _context()
    shapes = jax.eval_shape(context.fresh_weights)
    with pytest.raises(ValueError, match=f"stage late: {message}"):
        rehearse(context, [_stage(), _stage(name="late", **options)], shapes)


def test_weights_of_maps_that_the_model_does_not_have():
    context = _context()
    shapes = jax.eval_shape(context.fresh_weights)
    term = Term(penalties.l1, 1.0, layers=("relu1", "rellu2"), layer_weights=(1.0, 2.0))
    late = _stage(name="late")
    late = replace(late, objective=replace(late.objective, terms=(term,)))
    with pytest.raises(ValueError, match=r"stage late: layers of .* 'rellu2' matches"):
        rehearse(context, [_stage(), late], shapes)
