"""Kernels, and which leaf of another tree belongs to which."""

import copy
import pickle

import pytest

from dst_jax.kernels import Kernel, Kernels

STEM, BLOCK = Kernel(inputs=(0,), outputs=(1,)), Kernel(inputs=(1,), outputs=(0,))
LEAVES = (
    "batch_stats/bn/mean",
    "params/bn/scale",
    "params/conv1/kernel",
    "params/layer1/0/conv1/kernel",
)


@pytest.fixture
def kernels():
    found = {"params/conv1/kernel": STEM, "params/layer1/0/conv1/kernel": BLOCK}
    return Kernels(found, leaves=LEAVES)


@pytest.mark.parametrize(
    ("path", "kernel"),
    [
        ("params/conv1/kernel", STEM),
        ("conv1/kernel", STEM),
        ("weights/conv1/kernel", STEM),
        ("conv1/kernel/value", STEM),
        ("0/trace/conv1/kernel", STEM),
        ("0/trace/params/conv1/kernel", STEM),
        ("0/trace/layer1/0/conv1/kernel", BLOCK),
        ("mu/layer1/0/conv1/kernel/value", BLOCK),
        ("bn/scale", None),
        ("batch_stats/bn/mean", None),
        ("0/count", None),
        ("kernel", None),
        ("myconv1/kernel", None),
        ("", None),
    ],
)
def test_a_leaf_belongs_to_the_longest_path_it_ends_in(kernels, path, kernel):
    assert kernels.find(path) == kernel


def test_a_leaf_that_is_no_kernel_hides_shorter_paths():
    found = Kernels({"w": STEM}, leaves=("w", "head/w"))
    assert found.find("x/w") == STEM
    assert found.find("x/head/w") is None
    assert found.owner("x/head/w") == "head/w"
    assert found.owner("x/v") is None


def test_positions_of_arguments_are_ignored():
    found = Kernels({"0/params/fc/kernel": STEM}, positions=True)
    for path in ("fc/kernel", "0/params/fc/kernel", "params/fc/kernel"):
        assert found.find(path) == STEM


def test_the_same_path_in_two_arguments_is_that_of_the_kernel():
    found = Kernels({"1/w": STEM}, leaves=("0/w", "1/w"), positions=True)
    assert found.find("w") == STEM


def test_several_collections_in_front_are_ignored():
    assert Kernels({"weights/params/fc/kernel": STEM}).find("fc/kernel") == STEM
    assert Kernels({"fc/kernel": STEM}).find("weights/params/fc/kernel") == STEM


def test_one_array_is_a_tree():
    assert Kernels({"": STEM}).find("") == STEM
    assert Kernels({"": STEM}).find("0/trace") == STEM


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_find_too(kernels, copied):
    other = copied(kernels)
    assert other == kernels
    assert other.leaves == LEAVES
    assert other.find("conv1/kernel") == STEM


@pytest.mark.parametrize(
    "axes", [((0,), (0,)), ((0,), (2,)), ((-1,), (0,)), ((1,), ())]
)
def test_every_axis_is_named_once(axes):
    with pytest.raises(ValueError, match="every axis of a leaf once"):
        Kernel(inputs=axes[0], outputs=axes[1])


def test_groups_are_positive():
    with pytest.raises(ValueError, match="groups must be at least 1, got 0"):
        Kernel(inputs=(0,), outputs=(1,), groups=0)


@pytest.mark.parametrize("front", ["gates", "scales", "0/trace/scales", "1/DyReLU_0"])
def test_leaves_under_auxiliary_names_belong_to_no_kernel(kernels, front):
    assert kernels.find(f"{front}/conv1/kernel") is None
    assert kernels.find(f"{front}/params/layer1/0/conv1/kernel") is None
    assert kernels.owner(f"{front}/bn/scale") is None
    held = Kernels(kernels, leaves=(*LEAVES, "gates/conv1/kernel"))
    assert held.owner("0/trace/gates/conv1/kernel") == "gates/conv1/kernel"
