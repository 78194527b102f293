"""Segmentation: loss, exact confusion matrix, and a U-Net through the pipeline."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax import data, models, report, train
from dst_jax.report.load import load
from dst_jax.runs import Run
from dst_jax.train import Objective, Stage, make_train_step, tasks
from dst_jax.train.state import enter, init_network

IGNORE = 255


def some(seed, *, classes=3, shape=(2, 4, 5), ignored=0.3):
    """Logits and labels, a part of them ignored."""
    rng = np.random.default_rng(seed)
    outputs = rng.normal(size=(*shape, classes)).astype(np.float32)
    labels = rng.integers(0, classes, shape).astype(np.int32)
    labels[rng.random(shape) < ignored] = IGNORE
    return outputs, labels


def cross_entropies(outputs, labels):
    """Of the pixels that are not ignored, in float64; and their labels."""
    x, y = outputs[labels != IGNORE].astype(np.float64), labels[labels != IGNORE]
    return np.log(np.exp(x).sum(-1)) - x[np.arange(len(y)), y], y


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 0.0]])
def test_the_loss_is_the_weighted_mean_over_labelled_pixels(weights):
    outputs, labels = some(0)
    losses, y = cross_entropies(outputs, labels)
    w = np.ones(3)[y] if weights is None else np.asarray(weights)[y]
    task = tasks.segmentation(3, ignore=IGNORE, class_weights=weights)
    loss, grads = jax.value_and_grad(task.loss)(jnp.asarray(outputs), labels)
    np.testing.assert_allclose(loss, (w * losses).sum() / w.sum(), rtol=1e-6)
    grads = np.asarray(grads)
    assert (grads[labels == IGNORE] == 0).all()
    assert (grads[labels != IGNORE] != 0).any()


@pytest.mark.parametrize("weights", [None, [0.0, 1.0, 1.0]])
def test_a_batch_without_labelled_pixels_trains_nothing(weights):
    outputs, labels = some(0)
    none = np.full_like(labels, IGNORE if weights is None else 0)
    task = tasks.segmentation(3, ignore=IGNORE, class_weights=weights)
    loss, grads = jax.value_and_grad(task.loss)(jnp.asarray(outputs), none)
    assert float(loss) == 0
    assert not np.asarray(grads).any()


SUMS = jax.jit(tasks.segmentation(3, ignore=IGNORE).sums)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_confusion_matrix_adds_up_exactly_over_any_batches(seed):
    outputs, labels = some(seed, shape=(4, 3, 3))
    parts = [
        SUMS(outputs[part], labels[part])
        for part in (slice(0, 4), slice(0, 2), slice(2, 4))
    ]
    whole, first, second = (np.asarray(part["confusion"]) for part in parts)
    assert whole.dtype == np.int32
    np.testing.assert_array_equal(whole, first + second)
    expected = np.zeros((3, 3), int)
    own = labels != IGNORE
    np.add.at(expected, (labels[own], outputs.argmax(-1)[own]), 1)
    np.testing.assert_array_equal(whole, expected)
    losses, _ = cross_entropies(outputs, labels)
    np.testing.assert_allclose(parts[0]["loss"], losses.sum(), rtol=1e-5)


def test_counts_beyond_float32_are_exact():
    """2^24 + 1 pixels, which a float32 rounds."""
    labels = np.zeros((1, 1, 2**24 + 1), np.int32)
    outputs = np.zeros((*labels.shape, 1), np.float32)
    sums = jax.jit(tasks.segmentation(1).sums)(outputs, labels)
    assert int(sums["confusion"][0, 0]) == 2**24 + 1


def test_mean_iou_leaves_out_classes_that_nobody_names():
    confusion = np.array([[6, 2, 0, 0], [1, 3, 0, 4], [0, 0, 0, 0], [0, 0, 0, 0]])
    sums = {"confusion": confusion, "outside": 0, "loss": 8.0}
    found = tasks.segmentation(4).summary(sums)
    # Class 3 is predicted and never right: 0 of 4. Class 2 is left out.
    assert found["mean_iou"] == pytest.approx((6 / 9 + 3 / 10 + 0) / 3)
    assert found["pixel_accuracy"] == pytest.approx(9 / 16)
    assert found["loss"] == pytest.approx(0.5)


def test_metrics_of_a_batch_are_those_of_a_set_of_one_batch():
    outputs, labels = some(3, classes=4)
    task = tasks.segmentation(4, ignore=IGNORE)
    batch = task.batch_metrics(outputs, labels)
    found = task.summary(jax.device_get(task.sums(outputs, labels)))
    for name in ("mean_iou", "pixel_accuracy"):
        assert float(batch[name]) == pytest.approx(found[name])


def test_ignored_pixels_may_be_of_a_class():
    outputs, labels = some(1, ignored=0)
    masked = np.where(labels == 0, IGNORE, labels)
    one = tasks.segmentation(3, ignore=0)
    other = tasks.segmentation(3, ignore=IGNORE)
    assert float(one.loss(outputs, labels)) == float(other.loss(outputs, masked))
    found = (one.sums(outputs, labels), other.sums(outputs, masked))
    np.testing.assert_array_equal(*(sums["confusion"] for sums in found))


@pytest.mark.parametrize("label", [3, -1, 255])
def test_labels_out_of_range_are_named(label):
    outputs, labels = some(2, ignored=0)
    labels[0, 0, :2] = label
    task = tasks.segmentation(3)
    assert np.isnan(task.loss(outputs, labels))
    sums = jax.device_get(task.sums(outputs, labels))
    assert int(sums["confusion"].sum()) == labels.size - 2
    with pytest.raises(ValueError, match=r"must be in \[0, 3\), but 2 pixels have"):
        task.summary(sums)


@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        ((2, 4, 4, 3), (2, 8, 8), r"labels .* shape \(2, 4, 4\), .* got \(2, 8, 8\)"),
        ((2, 4, 4, 3), (2,), r"labels .* shape \(2, 4, 4\), .* got \(2,\)"),
        ((2, 4, 4, 5), (2, 4, 4), r"outputs .* width, 3\), got \(2, 4, 4, 5\)"),
        ((2, 3), (2, 4, 4), r"outputs .* width, 3\), got \(2, 3\)"),
    ],
)
def test_other_shapes_are_named(outputs, labels, message):
    task = tasks.segmentation(3)
    for ask in (task.loss, task.sums, task.batch_metrics):
        with pytest.raises(ValueError, match=message):
            ask(jnp.zeros(outputs), jnp.zeros(labels, jnp.int32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"'segmentation' needs the options \['num_classes'\]"),
        ({"num_classes": 0}, "num_classes must be .* got 0"),
        ({"num_classes": 2, "class_weights": (1, 2, 3)}, "must be 2 numbers"),
        ({"num_classes": 2, "class_weights": 1.0}, "must be 2 numbers"),
        ({"num_classes": 2, "class_weights": (1, -1)}, "finite and at least 0"),
        ({"num_classes": 2, "class_weights": (0, 0)}, "one of them positive"),
        ({"num_classes": 2, "class_weights": (1, float("nan"))}, "must be finite"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        tasks.get("segmentation", **options)


def test_class_weights_are_traced():
    outputs, labels = some(0)
    traces = []

    @jax.jit
    def loss(objective):
        traces.append(objective)
        return objective.task.loss(outputs, labels)

    found = {
        float(loss(Objective(task=tasks.segmentation(3, ignore=IGNORE, **options))))
        for options in ({"class_weights": (1, 1, w)} for w in (0.0, 1.0, 2.0))
    }
    assert len(found) == 3
    assert len(traces) == 1


@pytest.fixture(scope="module")
def canvases():
    return data.load("digits_canvas", image_size=16, augment=())


@pytest.mark.slow
def test_a_unet_learns_digits_on_canvases(canvases):
    """Falling loss and rising mean IoU, on images seen before."""
    model = models.create("unet", num_classes=11, depth=2, width=0.25)
    tx = optax.adam(0.02)
    network = init_network(model, jnp.zeros((1, 16, 16, 1)), jax.random.key(0))
    state = enter(network, tx, jax.random.key(0))
    preprocess = partial(data.normalise, mean=canvases.mean, std=canvases.std)
    step = make_train_step(model, tx, preprocess=preprocess)
    task = tasks.segmentation(11, class_weights=(*[1.0] * 10, 0.2))
    batch = next(data.train_iterator(canvases.train, batch_size=4, seed=0))
    lines = []
    for _ in range(60):
        state, metrics = step(state, batch, Objective(task=task))
        lines.append({name: float(value) for name, value in metrics.items()})
    losses = [line["loss"] for line in lines]
    overlaps = [line["mean_iou"] for line in lines]
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
    assert overlaps[0] < 0.1  # background alone gives 0.08
    assert np.mean(overlaps[-5:]) > 0.3
    assert step._cache_size() == 1


@pytest.fixture(scope="module")
def trained(canvases, tmp_path_factory):
    """Two short stages of a U-Net on canvases."""
    context = train.Context(
        model=models.create("unet", num_classes=11, depth=2, width=0.0625),
        dataset=canvases,
        run=Run(tmp_path_factory.mktemp("segmented")),
        task=tasks.segmentation(11),
        batch_size=64,
        eval_batch_size=128,
        console=train.Console(quiet=True),
    )

    def adam(**_):
        return optax.adam(0.01)

    stages = [Stage(name=name, epochs=1, optimizer=adam) for name in ("one", "two")]
    return context, train.train(context, stages, config={})


def test_segmentation_goes_through_the_whole_pipeline(trained):
    context, summary = trained
    for row in summary["stages"]:
        assert row["examples"] == 400
        assert 0 < row["mean_iou"] < 1
        assert 0.5 < row["pixel_accuracy"] < 1
    record = context.run.read_config()
    assert record["task"]["best"] == ["mean_iou", "max"]
    assert record["data"]["name"] == "digits_canvas"
    lines = context.run.read_metrics()
    assert {"loss", "cross_entropy", "mean_iou", "pixel_accuracy"} <= lines[0].keys()


def test_the_report_shows_images_labels_and_predictions(trained):
    context, _ = trained
    run = load(context.run.path)
    first, second = (stage.pictures for stage in run.stages)
    assert len(first.examples) == len(second.examples) == 4
    for i, picture in enumerate(first.examples):
        image, label = context.dataset.test.example(i)
        np.testing.assert_array_equal(picture.image, image[:, :, 0])
        np.testing.assert_array_equal(picture.label, label)
        np.testing.assert_array_equal(second.examples[i].label, label)
    network = train.load_weights(context.run.path, sharding=context.sharding)
    x = context.preprocess(
        np.stack([context.dataset.test.example(i).image for i in range(4)])
    )
    outputs = context.with_model(network).model(network.variables, x)[0]
    for picture, predicted in zip(second.examples, outputs.argmax(-1), strict=True):
        np.testing.assert_array_equal(picture.predicted, predicted)
    page = report.write(context.run.path)
    assert "Images, labels and predictions" in page.read_text()
    assert (context.run.path / "figures" / "pixel_labels.png").exists()


def test_a_torn_picture_is_named(trained, tmp_path):
    record = trained[0].run.read_examples("one")
    record["examples"][0]["label"] = "AAAA"
    source = trained[0].run
    run = Run(tmp_path)
    run.write_config({**source.read_config(), "stages": ["one"]})
    run.write_stage("one", source.read_stage("one"))
    run.write_examples("one", record)
    with pytest.raises(ValueError, match=r"examples/one.json is malformed: .* no PNG"):
        load(tmp_path)
