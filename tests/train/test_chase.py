"""The stage of Chase: the network that it hands on is smaller and computes the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import channels, models, penalties, pruning, train
from dst_jax.models.smaller import Smaller, groups_of
from dst_jax.train import Console, Term, chain, stages
from dst_jax.train.interrupt import Interrupt, Interrupted
from dst_jax.trees import named_leaves
from dst_jax.typing import Network

HIDDEN = (24, 16)
KERNELS = 784 * 24 + 24 * 16 + 16 * 10


def _chase(*, steps, steps_per_epoch, mask, seed, groups):
    del steps_per_epoch

    def sparsify(inner, mask):
        return pruning.chase(
            inner, mask=mask, seed=seed, sparsity=0.8, groups=groups(),
            channel_sparsity=0.4, floor=0.5, channel_interval=4, channel_end=12,
            interval=2, explore_end=12, end=steps)  # fmt: skip

    return chain(0.05, mask=mask, sparsify=sparsify)


def _pipeline(optimizer):
    stage = stages.sparse_training(
        method="chase", epochs=2, optimizer=_chase, start="pretrain", groups="inner"
    )
    after = stages.sparsify_activations(
        epochs=1, optimizer=optimizer, penalty=Term(penalties.l1, 1e-4),
        start=stage.name)  # fmt: skip
    return [stages.pretrain(epochs=1, optimizer=optimizer), stage, *after]


@pytest.fixture(scope="module")
def finished(make_setup, optimizer, tmp_path_factory):
    mlp = models.create("mlp", num_classes=10, hidden=HIDDEN)
    context = make_setup(tmp_path_factory.mktemp("run"), model=mlp)
    return context, train.train(context, _pipeline(optimizer), config={})


def _loaded(context, path):
    path = context.run.checkpoints / path
    return context.with_model(train.load_weights(path, sharding=context.sharding))


@pytest.mark.slow
def test_the_network_is_smaller_and_the_budget_that_of_the_whole(finished):
    context, summary = finished
    network = _loaded(context, "sparsify_weights.chase")
    assert isinstance(network.model, Smaller)
    kept = {name: len(units) for name, units in network.model.plan.kept.items()}
    assert sum(kept.values()) <= sum(HIDDEN) - 16  # 0.4 of 40, rounded down
    assert network.params["fc2"]["kernel"].shape == (kept["fc1"], kept["fc2"])
    active = sum(int(m.sum()) for m in jax.tree.leaves(network.mask))
    assert active == KERNELS - round(0.8 * KERNELS)
    for path, mask in named_leaves(network.mask).items():
        assert mask.shape == named_leaves(network.params)[path].shape
        assert not named_leaves(network.params)[path][~mask].any()
    after = _loaded(context, "sparsify_activations")
    assert jax.tree.map(jnp.shape, after.params) == jax.tree.map(
        jnp.shape, network.params
    )
    assert [row["name"] for row in summary["stages"]][1] == "sparsify_weights"


@pytest.mark.slow
def test_goes_on_to_the_bit_after_an_interruption(
    finished, make_setup, optimizer, tmp_path, monkeypatch
):
    whole, _ = finished
    context = make_setup(tmp_path, model=whole.model, save_every=3)
    asked = iter(range(1000))
    monkeypatch.setattr(Interrupt, "requested", lambda *_: next(asked) > 14)
    with pytest.raises(Interrupted):
        train.train(context, _pipeline(optimizer), config={})
    monkeypatch.undo()
    train.train(context, _pipeline(optimizer), config={})
    train.train(context, _pipeline(optimizer), config={})  # and once it is finished
    pair = (_loaded(c, "sparsify_activations") for c in (whole, context))
    first, second = (jax.device_get((n.variables, n.mask)) for n in pair)
    jax.tree.map(np.testing.assert_array_equal, first, second)


def _residual(variables, x, *, train=False, rngs=None):
    """A stem, two blocks and a classifier, with statistics that are given."""
    del train, rngs
    params, statistics = variables["params"], variables["batch_stats"]

    def layer(h, name):
        numbers = ("NHWC", "HWIO", "NHWC")
        kernel = params[name]["kernel"]
        h = jax.lax.conv_general_dilated(
            h, kernel, (1, 1), "SAME", dimension_numbers=numbers
        )
        rest = {**params[name], **statistics[name]}
        mean, scale, bias = (
            rest[k][None, None, None] for k in ("mean", "scale", "bias")
        )
        return (h - mean) * scale + bias

    h = jax.nn.relu(layer(x, "stem"))
    for block in ("block0", "block1"):
        inside = jax.nn.relu(layer(h, f"{block}/conv1"))
        h = jax.nn.relu(h + layer(inside, f"{block}/conv2"))
    return h.mean(axis=(1, 2)) @ params["fc"]["kernel"], {}, {}


@pytest.fixture(scope="module")
def residual():
    rng, width = np.random.default_rng(0), 6
    names = ["stem", *(f"block{i}/conv{j}" for i in (0, 1) for j in (1, 2))]
    params, statistics = {}, {}
    for name in names:
        inputs = 3 if name == "stem" else width
        params[name] = {
            "kernel": rng.normal(size=(3, 3, inputs, width)).astype("f"),
            "scale": rng.uniform(0.1, 1, width).astype("f"),
            "bias": rng.uniform(0.1, 1, width).astype("f"),
        }
        statistics[name] = {"mean": rng.normal(size=width).astype("f")}
    params["fc"] = {"kernel": rng.normal(size=(width, 4)).astype("f")}
    variables = {"params": params, "batch_stats": statistics}
    return Network(_residual, variables), rng.normal(size=(2, 5, 5, 3)).astype("f")


@pytest.mark.slow
@pytest.mark.parametrize("which", ["inner", "all"])
def test_removal_of_what_is_not_read_changes_no_output(which, residual):
    network, x = residual
    groups = groups_of(network, x[:1])
    some = channels.inner(groups) if which == "inner" else groups
    assert len(some) == {"inner": 2, "all": 3}[which]
    rng = np.random.default_rng(1)
    keep = {k: rng.uniform(size=g.size) < 0.6 for k, g in some.items()}
    mask = pruning.masks.magnitude(network.params, 0.5)
    keep = {k: units | (np.arange(units.size) == 0) for k, units in keep.items()}
    mask = channels.mask(mask, groups, keep)
    pruned = network.with_params(pruning.masks.apply(mask, network.params))
    hook = stages.RemoveUnread(which)
    context = _Context(x[:1])
    small = hook(pruned._replace(mask=mask), context=context)
    left = {name: len(units) for name, units in small.model.plan.kept.items()}
    assert all(left[k] <= units.sum() for k, units in keep.items())
    before, after = (
        jax.jit(lambda v, x, model=n.model: model(v, x)[0])(n.variables, x)
        for n in (pruned, small)
    )
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)
    again = hook(small, context=context)  # of what is left, nothing is unread
    assert again.model.plan == small.model.plan
    left = small.model.plan.keep
    expected = channels.remove(mask, groups, left)
    jax.tree.map(np.testing.assert_array_equal, small.mask, expected)
    for path, m in named_leaves(small.mask).items():
        assert not np.any(named_leaves(small.params)[path][~m])


class _Context:
    """What the hook reads of a context."""

    def __init__(self, example):
        self.example = jax.ShapeDtypeStruct(example.shape, example.dtype)
        self.console = Console(quiet=True)

    def once(self, key, make):
        del key
        return make()


def test_units_stay_that_something_else_reads():
    def net(params, x):
        h = x @ params["a"]["kernel"]
        return h @ params["b"]["kernel"] + h @ params["c"]["kernel"]

    params = {k: {"kernel": jnp.ones((3, 3))} for k in "abc"}
    groups = channels.groups(net)(params, jnp.ones((1, 3)))
    assert list(channels.inner(groups)) == []  # two kernels read it
    rows = {"kernel": jnp.array([[True] * 3, [False] * 3, [False] * 3])}
    mask = {"a": {"kernel": jnp.ones((3, 3), bool)}, "b": rows, "c": {"kernel": None}}
    assert channels.unread(mask, groups)["a"].all()  # c reads them and is not pruned
    assert channels.unread(mask | {"c": rows}, groups)["a"].tolist() == [
        True,
        False,
        False,
    ]
    none = {"kernel": jnp.zeros((3, 3), bool)}
    found = channels.unread(mask | {"b": none, "c": none}, groups)
    assert found["a"].tolist() == [True, False, False]  # one stays at least


def test_groups_that_are_none_are_refused():
    with pytest.raises(ValueError, match="groups 'conv9' are none of: conv1"):
        train.channel_groups.open_groups(_groups(), "conv9")
    with pytest.raises(ValueError, match=r"groups '\(' is not a regex"):
        train.channel_groups.open_groups(_groups(), "(")


def _groups():
    group = channels.Group("conv1", 8, (), ())
    return channels.Groups({"conv1": group}, shapes={}, fixed={}, aux={})
