"""A function with a layer of every kind, and its masks on three images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import cost


def _conv(x, w, **options):
    names = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC")}
    names |= {3: ("NDHWC", "DHWIO", "NDHWC")}
    axes = x.ndim - 2
    given = {"window_strides": (1,) * axes, "padding": "SAME"} | options
    return jax.lax.conv_general_dilated(x, w, **given, dimension_numbers=names[axes])


LAYERS = {
    "strided": ((5, 3, 2, 6), {"window_strides": (2, 3), "padding": ((1, 2), (0, 1))}),
    "grouped": ((3, 2, 1, 4), {"rhs_dilation": (2, 1), "feature_group_count": 2}),
    "depthwise": ((3, 3, 1, 2), {"feature_group_count": 2}),
    "cropped/1x1": (
        (1, 1, 2, 3),
        {"window_strides": (2, 2), "padding": ((-1, 0), (0, -2))},
    ),
    "transposed": ((3, 3, 2, 3), {"lhs_dilation": (2, 2), "padding": ((1, 2), (2, 1))}),
}


def network(w, x):
    """The layers side by side: nothing is fed from one to the next."""
    found = {}
    for name, (_, options) in LAYERS.items():
        with jax.named_scope(name):
            found[name] = _conv(x, w[name], **options)
    with jax.named_scope("line"):
        found["line"] = _conv(x[:, :, 0], w["line"], window_strides=(2,))
    with jax.named_scope("volume"):
        found["volume"] = _conv(x[:, :, :, None, :], w["volume"])
    with jax.named_scope("fc"):
        found["fc"] = x.reshape(len(x), -1) @ w["fc"]
    heads = jnp.moveaxis(x, -1, 1)
    with jax.named_scope("attention"):
        found["attention"] = heads @ heads.swapaxes(2, 3)
    return found


@pytest.fixture(scope="session")
def weights():
    shapes = {name: shape for name, (shape, _) in LAYERS.items()}
    shapes |= {"line": (3, 2, 4), "volume": (3, 1, 2, 2, 3), "fc": (7 * 8 * 2, 5)}
    keys = np.random.default_rng(0)
    return {
        name: jnp.asarray(keys.normal(size=s) * (keys.random(s) < 0.5), jnp.float32)
        for name, s in shapes.items()
    }


@pytest.fixture(scope="session")
def images():
    keys = np.random.default_rng(1)
    found = keys.normal(size=(3, 7, 8, 2)).astype(np.float32)
    found[keys.random(found.shape) < 0.4] = 0
    return found


@pytest.fixture(scope="session")
def profiles(weights, images):
    """What `cost.profile` says of each of three images."""
    profiled = jax.jit(cost.profile(network))
    return [jax.device_get(profiled(weights, image[None])) for image in images]


@pytest.fixture(scope="session")
def traces(profiles):
    return cost.workloads.stack(profiles, info={"stage": "dual", "top1": 0.5})
