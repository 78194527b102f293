"""The networks equal PyTorch's: logits, statistics, zeros, names."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import models, trees
from dst_jax.activations import apply_with_activations

torch = pytest.importorskip("torch")
from tests.models.torch_reference.build import BUILDERS  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]

# Zeros that may differ between the two in all maps of a network together: elements
# whose pre-activation is smaller than float32's rounding of the sums behind it.
HANDFUL = 3

# name: (our options, the reference's where they differ, height and width). One network
# of each class, narrow: the others are the same code, and their names are compared in
# test_published.py. Some have fewer blocks, to compile sooner.
CASES = {
    "densenet121": ({"width": 0.25, "blocks": (2, 2, 2, 2)}, {}, 64),
    "densenet121_cifar": ({"width": 0.25, "blocks": (3, 3, 3, 3)}, {}, 32),
    "densenet121_cifar, ReLU": (
        {"width": 0.25, "blocks": (1, 1, 1, 1), "transition_relu": True},
        {},
        32,
    ),
    "efficientnet_lite0": (
        {"width": 0.5, "blocks": (1, 2, 1, 1, 1, 1, 1), "drop_connect": 0.0},
        {},
        64,
    ),
    "googlenet": (
        {"width": 0.25, "aux_logits": True, "transform_input": True},
        {},
        64,
    ),
    "googlenet_cifar": ({"width": 0.25}, {}, 32),
    "lenet5": ({}, {}, 28),
    "mlp": ({}, {}, 28),
    "mobilenet_v1": ({"width": 0.5}, {}, 64),
    "mobilenet_v2": ({"width": 0.5}, {}, 64),
    "resnet18": ({"width": 0.25, "stem": "cifar"}, {}, 32),
    "resnet20": ({}, {}, 32),
    "resnet20, projected": ({"blocks": 1, "shortcut": "B"}, {}, 32),
    "resnet50": ({"width": 0.25, "blocks": (2, 1, 1, 1)}, {}, 64),
    "unet": ({"width": 0.125}, {}, 64),
    "vgg16_bn": ({"width": 0.125}, {}, 64),
    "vit_tiny": ({"depth": 2}, {"image": 64}, 64),
    "wide_resnet28_10": ({"width": 0.1}, {}, 32),
}

FAST_TO_COMPILE = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}


def variables(reference):
    """A reference's parameters and statistics under our names and in our layout."""
    out = {"params": {}, "batch_stats": {}}
    for key, tensor in reference.state_dict().items():
        path, _, leaf = key.rpartition(".")
        array, module = tensor.numpy(), path and reference.get_submodule(path)
        collection = "batch_stats" if leaf.startswith("running") else "params"
        if leaf == "num_batches_tracked":
            continue
        if leaf == "weight":
            leaf = "scale" if array.ndim == 1 else "kernel"
        if isinstance(module, torch.nn.ConvTranspose2d) and leaf == "kernel":
            array = array.transpose(2, 3, 0, 1)
        elif leaf == "kernel":
            array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        *parents, name = f"{path}.{leaf.removeprefix('running_')}".strip(".").split(".")
        branch = out[collection]
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[name] = jnp.asarray(array)
    return {name: tree for name, tree in out.items() if tree}


def randomise(reference, x):
    """Random affine parameters, and the statistics of a batch not used again."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in reference.named_parameters():
        if parameter.ndim == 1 or "token" in name or "embed" in name:
            noise = torch.rand(parameter.shape, generator=generator)
            parameter.data = noise + 0.5 if name.endswith("weight") else noise - 0.5
    norms = [m for m in reference.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    published = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    reference.train()(torch.randn(x.shape, generator=generator))
    for norm, momentum in zip(norms, published, strict=True):
        norm.momentum = momentum


def pair(case):
    """Our network and the reference with random weights, and a batch."""
    options, differing, size = CASES[case]
    name, options = case.partition(",")[0], dict(options)
    blocks = options.pop("blocks", None)
    model = models.create(name, num_classes=10, **options)
    build = BUILDERS[name]
    if blocks is not None:
        model = model.clone(blocks=blocks)
        build = partial(build.func, *build.args[:-1], blocks)
    torch.manual_seed(0)
    reference = build(num_classes=10, **options, **differing)
    x = torch.randn(4, models.task(name).image[2], size, size)
    with torch.no_grad():
        randomise(reference, x)
    return model, reference, x


def watched(reference, x):
    """Logits in evaluation, and the output of every ReLU by our tap's name."""
    maps, hooks = {}, []
    for name, module in reference.named_modules():
        if isinstance(module, torch.nn.ReLU | torch.nn.ReLU6):
            key = name.replace(".", "/")
            hooks.append(
                module.register_forward_hook(
                    lambda _, __, out, key=key: maps.update({key: nhwc(out)})
                )
            )
    with torch.no_grad():
        logits = nhwc(reference.eval()(x))
    for hook in hooks:
        hook.remove()
    return logits, maps


def nhwc(tensor):
    array = tensor.detach().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array.copy()


def run(model, given, x):
    """Logits and maps in evaluation, and the statistics after a step of training."""

    def both(given, x):
        logits, maps, _ = apply_with_activations(model, given, x)
        _, updated = model.apply(
            given,
            x,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(0)},
        )
        return logits, maps, updated

    return jax.jit(both, compiler_options=FAST_TO_COMPILE)(given, jnp.asarray(nhwc(x)))


@pytest.mark.parametrize("name", CASES)
def test_logits_zeros_and_statistics_equal_torchs(name):
    model, reference, x = pair(name)
    given = variables(reference)
    logits, maps, updated = run(model, given, x)

    expected, torch_maps = watched(reference, x)
    close(logits, expected, 1e-4)
    assert maps.keys() == torch_maps.keys()
    assert zeros_that_differ(maps, torch_maps) <= HANDFUL
    assert all((m >= 0).all() for m in maps.values())
    assert any((m == 0).any() for m in torch_maps.values())

    with torch.no_grad():
        reference.train()(x)
    expected = trees.named_leaves(variables(reference).get("batch_stats", {}))
    found = trees.named_leaves(updated.get("batch_stats", {}))
    assert found.keys() == expected.keys()
    for key, statistic in found.items():
        close(statistic, expected[key], 1e-4)


def close(found, expected, tolerance):
    """Relative to the largest element: sums that cancel have no relative precision."""
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


def zeros_that_differ(maps, expected):
    """How many elements are zero in one and not in the other; all must be tiny."""
    count = 0
    for name, found in maps.items():
        found, other = np.asarray(found), expected[name]
        differ = (found == 0) != (other == 0)
        count += differ.sum()
        size = np.maximum(found, other)
        assert (size[differ] < 1e-5 * size.max()).all(), name
    return count
