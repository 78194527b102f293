"""What is removed equals what is masked: the zoo, all groups cut at once."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax import channels, models
from tests.channels.conftest import removes_as_it_masks
from tests.channels.test_partitions import CASES

# Names whose networks only repeat more of the blocks of another name, or wider ones.
REPEATED = {"resnet32", "resnet34", "resnet44", "resnet56", "resnet110", "vgg19_bn"}
REPEATED |= {"densenet121_cifar", "vit_small", "wide_resnet50_2"}
NETWORKS = sorted(set(models.names()) - REPEATED)


@pytest.mark.slow
@pytest.mark.parametrize("part", [0, 1])
def test_two_subsets_of_the_groups_of_every_network(part):
    # In a process without type checks, which take twice as long as the rest.
    options = ["--rounds", "2", "--gradients", "0", "--half", "--names"]
    command = [sys.executable, "-m", "benchmarks.channel_exactness", *options]
    found = subprocess.run(
        [*command, *NETWORKS[part::2]], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


SMALL = [name for name, found in CASES.items() if found.exact and len(found.x) == 2]


@pytest.mark.slow
@settings(max_examples=5)
@given(st.sampled_from(SMALL), st.integers(0, 2**16))
def test_any_subset_of_the_groups_of_a_small_network(name, seed):
    own, rng = CASES[name], np.random.default_rng(seed)
    weights, x = own.weights(), own.input()
    groups = channels.groups(own.fn, split=own.split)(weights, x)
    keep = {}
    for key, group in groups.items():  # neither all of it nor nothing
        count = rng.integers(1, group.size)
        keep[key] = rng.permutation(group.size) < count
    pair = removes_as_it_masks(own.fn, weights, x, groups, keep)
    for small, masked in zip(*map(jax.tree.leaves, pair), strict=True):
        np.testing.assert_allclose(small, masked, rtol=1e-5, atol=1e-5)
