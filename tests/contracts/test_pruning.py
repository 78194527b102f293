"""What every method of sparse training must do. A new one is tested by adding its row.

The trajectories are computed once per method and looked at by many tests.
"""

import functools
import itertools
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import penalties, pruning, trees
from dst_jax.pruning import structures

# These programs are small: they take longer to compile well than to run.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
STEPS = 12
SPARSITY = 0.75
SIZES = {"conv/kernel": 96, "fc/kernel": 60}
KEPT = 39  # a quarter of 156


@dataclass(frozen=True)
class Member:
    """A method, its options, and what it promises.

    Attributes:
      met: from this step on, the target is met to one weight, or up to `missing`.
      falls: the number of active weights never rises.
      revives: a pruned weight may come back.
      layers: every layer keeps its number.
      most: active weights never exceed so many after the first step.
      emergent: the sparsity is learned; what is promised is that from `met` on it is
        above 0 and below 1, and the mask stays as it is.
    """

    method: str
    options: dict[str, Any] = field(default_factory=dict)
    met: int = 0
    missing: int = 0
    falls: bool = True
    revives: bool = False
    layers: bool = False
    most: int = 156
    emergent: bool = False


EXPLORE = {"interval": 2, "end": 9}
CHANNELS = {
    "conv": SimpleNamespace(
        size=6,
        members=[("conv/kernel", 3, np.arange(6)), ("fc/kernel", 0, np.arange(6))],
        roles=["produces", "reads"],
    )
}
CHASE = {
    "groups": CHANNELS, "channel_sparsity": 1 / 3, "floor": 0.5, "channel_interval": 3,
    "channel_end": 6, "interval": 2, "explore_end": 6, "end": 11, "slack": 0.1,
}  # fmt: skip
MEMBERS = {
    "static": Member("static", met=0, layers=True, most=KEPT),
    "random": Member("random", met=0, layers=True, most=KEPT),
    "one_shot": Member("one_shot", {"at": 5}, met=5),
    "gradual": Member("gradual_magnitude", {"interval": 4, "end": 10}, met=10),
    "gradual erk": Member(
        "gradual_magnitude",
        {"interval": 3, "start": 2, "end": 9, "initial_sparsity": 0.5,
         "distribution": "erk"},
        met=9, most=78),
    "gradual 1:4": Member(
        "gradual_magnitude",
        {"interval": 3, "end": 9, "structure": structures.n_m(1, 4),
         "rules": [("fc", False)]},
        met=9),
    "gradual_movement": Member("gradual_movement", {"interval": 3, "end": 9}, met=9),
    "set": Member(
        "set", {"interval": 2}, revives=True, layers=True, most=KEPT),
    "rigl": Member("rigl", EXPLORE, revives=True, layers=True, most=KEPT),
    "rigl block": Member(
        "rigl", EXPLORE | {"structure": structures.block((2, 1)), "drop_fraction": 0.5},
        revives=True, layers=True, missing=2, most=KEPT + 1),
    "rigl dst_ee": Member(
        "rigl", EXPLORE | {"grow": "dst_ee"}, revives=True, layers=True, most=KEPT),
    "rigl global": Member(
        "rigl", EXPLORE | {"scope": "global"}, revives=True, most=KEPT),
    "rigl_itop": Member("rigl_itop", EXPLORE, revives=True, layers=True, most=KEPT),
    "mest": Member("mest", EXPLORE, met=9, revives=True, falls=False, most=KEPT + 8),
    "mest hard": Member(
        "mest", EXPLORE | {"soft": False, "grow": "gradient"}, revives=True, most=KEPT),
    "granet": Member(
        "granet", {"interval": 2, "prune_end": 7, "end": 11}, met=7, revives=True,
        most=78),
    "east": Member(
        "east", {"interval": 2, "end": 11, "period": 4}, met=8, falls=False,
        revives=True, most=3 * KEPT),
    "gap": Member(
        "gap", {"interval": 4, "partitions": 2}, met=8, falls=False, revives=True),
    "srigl": Member(
        "srigl", EXPLORE | {"output": ["fc"], "ablation": 0.9, "drop_fraction": 0.5},
        revives=True, missing=16, most=KEPT),
    "chase": Member("chase", CHASE, met=6, revives=True, falls=False, most=KEPT + 16),
    "ste": Member("ste", revives=True, most=KEPT),
    "sr_ste": Member(
        "sr_ste", {"structure": None}, revives=True, layers=True, most=KEPT),
    "sr_ste 1:4": Member(
        "sr_ste",
        {"structure": structures.n_m(1, 4), "sparsity": None, "rules": [("fc", False)],
         "refinement": 0.1},
        revives=True, layers=True, most=24),
    "threshold": Member(
        "threshold", {"induce": 5, "strength": 0.5, "penalty": penalties.l1}, met=5),
    "threshold prox": Member(
        "threshold",
        {"induce": 4, "strength": 1.0, "prox": penalties.prox_transformed_l1,
         "step_size": 0.05, "sparsity": None, "threshold": 0.3},
        met=4, emergent=True),
    "ac_dc": Member(
        "ac_dc", {"warmup": 2, "interval": 2, "release": 7, "end": 9}, met=9,
        falls=False, revives=True),
    "auto_sparse": Member(
        "auto_sparse", {"end": 9, "initial": -1.0}, met=9, falls=False, revives=True,
        emergent=True),
    "constrained_l0": Member(
        "constrained_l0", {"end": 9, "dual_rate": 0.5}, met=9, falls=False,
        revives=True, emergent=True),
    "halo": Member("halo", {"at": 6, "xi": 0.01, "psi": 0.001}, met=6),
}  # fmt: skip


def _params(dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0), 2)
    return {
        "conv": {"kernel": jax.random.normal(keys[0], (2, 2, 4, 6), dtype)},
        "fc": {
            "kernel": jax.random.normal(keys[1], (6, 10), dtype),
            "bias": jnp.ones(10, dtype),
        },
        "absent": None,
    }


@functools.cache
def _gradients():
    return [_host(jit(_random_like)(jax.random.key(i))) for i in range(STEPS)]


def _random_like(key):
    return jax.tree.map(
        lambda w: jax.random.normal(key, (w.size,)).reshape(w.shape), _params()
    )


def _host(tree):
    """A copy off the device: what a checkpoint is."""
    return jax.tree.map(
        lambda x: x if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else np.array(x),
        tree,
    )


def _create(name, inner=None, **options):
    member = MEMBERS[name]
    inner = optax.adam(0.05) if inner is None else inner
    return pruning.create(member.method, inner, **_options(member), **options)


def _options(member):
    takes_it = "sparsity" in pruning.options(member.method)
    return ({"sparsity": SPARSITY} if takes_it else {}) | member.options


def _holds(name):
    return pruning.holds(MEMBERS[name].method, **_options(MEMBERS[name]))


def _stepper(tx, traces=1):
    @jit
    @chex.assert_max_traces(n=traces)
    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return step


@functools.cache
def _trajectory(name):
    """Parameters and states before and after every step; the transform, its step."""
    chex.clear_trace_counter()
    tx = _create(name, track=True)
    step = _stepper(tx)
    state = tx.init(_params())  # not compiled: methods share the pieces it is made of
    params = _params()
    if _holds(name):
        params = pruning.sparse_params(params, state)
    found = [_host((params, state))]
    for grads in _gradients():
        params, state = step(params, state, grads)
        found.append(_host((params, state)))
    return found, step, tx


def _counts(mask):
    return {k: int(m.sum()) for k, m in trees.named_leaves(mask).items()}


def _totals(name):
    states = [state for _, state in _trajectory(name)[0]]
    return [sum(_counts(pruning.get_mask(s)).values()) for s in states]


def _pruned_are_zero(mask, params):
    flags = jax.tree.map(
        lambda m, w: True if m is None else bool((np.where(m, 0, w) == 0).all()),
        mask,
        params,
        is_leaf=trees.is_none,
    )
    return all(jax.tree.leaves(flags))


# One method of each kind; the others, and every variant, take more than 5 s together.
QUICK = {"static", "gradual", "rigl", "threshold", "constrained_l0", "halo"}


def _cases(names):
    return [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in names
    ]


@pytest.fixture(params=_cases(MEMBERS))
def name(request):
    return request.param


def test_every_method_has_a_row():
    assert {member.method for member in MEMBERS.values()} == set(pruning.names())


@pytest.mark.slow
def test_pruned_weights_are_exactly_zero_after_every_step(name):
    for params, state in _trajectory(name)[0]:
        seen = pruning.sparse_params(params, state)
        assert _pruned_are_zero(pruning.get_mask(state), seen)
    # Other parameters than the network's stay dense.
    assert _pruned_are_zero(pruning.get_mask(state), params) == _holds(name)
    start, end = _params(), _host(seen)
    assert (end["fc"]["bias"] != start["fc"]["bias"]).all()
    kept = pruning.get_mask(_trajectory(name)[0][-1][1])["conv"]["kernel"]
    assert (np.where(kept, end["conv"]["kernel"], 1) != 0).mean() > 0.9


@pytest.mark.slow
def test_the_target_is_met_when_promised(name):
    member, totals = MEMBERS[name], _totals(name)
    if member.emergent:
        assert 0 < totals[-1] < 156
        last = _mask(name, STEPS)
        assert all(_same(_mask(name, i), last) for i in range(member.met, STEPS))
        return
    target = KEPT if len(_counts(_mask(name, 0))) == 2 else 96 // 4
    for total in totals[member.met :]:
        assert target - max(member.missing, 1) <= total
        assert total <= target + (1 if member.missing else 0)
    assert member.met == 0 or max(totals[: member.met]) > target


@pytest.mark.slow
def test_the_budget_is_kept(name):
    member, totals = MEMBERS[name], _totals(name)
    assert max(totals[1:]) <= member.most
    if member.falls:
        assert all(a >= b for a, b in itertools.pairwise(totals))
    if member.layers:
        counts = [_counts(_mask(name, i)) for i in range(STEPS + 1)]
        assert all(c == counts[0] for c in counts)


@pytest.mark.slow
def test_a_pruned_weight_comes_back_only_where_it_may(name):
    revived = 0
    for i in range(STEPS):
        before, after = _mask(name, i), _mask(name, i + 1)
        both = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
        revived += sum(int((~a & b).sum()) for a, b in both)
    assert (revived > 0) == MEMBERS[name].revives


def test_the_state_keeps_its_form(name):
    first, last = _trajectory(name)[0][0][1], _trajectory(name)[0][-1][1]
    chex.assert_trees_all_equal_structs(first, last)
    chex.assert_trees_all_equal_shapes_and_dtypes(first, last)
    assert int(last.step) == STEPS
    assert _mask(name, STEPS)["absent"] is None
    assert _mask(name, STEPS)["fc"]["bias"] is None


def test_statistics_recount_the_masks(name):
    found = pruning.statistics(_trajectory(name)[0][-1][1])
    last, ever = _mask(name, STEPS), _mask(name, 0)
    changed = [i for i in range(STEPS) if not _same(_mask(name, i), _mask(name, i + 1))]
    for i in changed:
        ever = jax.tree.map(np.logical_or, ever, _mask(name, i + 1))
    for layer, m in trees.named_leaves(last).items():
        assert found[layer]["active"] == m.sum()
        assert found[layer]["density"] == pytest.approx(float(m.mean()))
        seen = trees.named_leaves(ever)[layer]
        assert found[layer]["exploration"] == pytest.approx(float(seen.mean()))


def test_statistics_tell_what_an_update_did(name):
    for i in range(STEPS):
        before, after = _mask(name, i), _mask(name, i + 1)
        if _same(before, after):
            continue
        found = pruning.statistics(_trajectory(name)[0][i + 1][1])
        for layer, old in trees.named_leaves(before).items():
            new = trees.named_leaves(after)[layer]
            assert found[layer]["dropped"] == (old & ~new).sum()
            assert found[layer]["grown"] == (~old & new).sum()
            union = max(int((old | new).sum()), 1)
            jaccard = int((old & new).sum()) / union
            assert found[layer]["overlap"] == pytest.approx(jaccard)


def test_resumes_to_the_bit_from_the_middle(name):
    found, step, _ = _trajectory(name)
    params, state = _host(found[5])
    for grads in _gradients()[5:]:
        params, state = step(params, state, grads)
    chex.assert_trees_all_equal(_host((params, state)), _host(found[-1]))


def test_deterministic_under_a_seed(name):
    found, step, tx = _trajectory(name)
    params, state = found[0][0], tx.init(_params())
    chex.assert_trees_all_equal(_host(state), _host(found[0][1]))
    for grads in _gradients()[:4]:
        params, state = step(params, state, grads)
    chex.assert_trees_all_equal(_host(state), _host(found[4][1]))


@pytest.mark.parametrize("name", ["random", "set"])
def test_another_seed_is_another_mask(name):
    masks = [
        pruning.get_mask(_create(name, seed=seed).init(_params())) for seed in (0, 1)
    ]
    assert not _same(*masks)


@pytest.mark.slow
@pytest.mark.parametrize("name", _cases(n for n in MEMBERS if " " not in n))
def test_in_every_composition_at_once(name):
    """MultiSteps(chain(multi_transform(inject_hyperparams(method)))), bfloat16."""
    tx = _composed(name)
    params = _params(jnp.bfloat16)
    state = _host(tx.init(params))  # Optax's weak types would be traced twice
    chex.clear_trace_counter()
    step = _stepper(tx)
    masks = []
    for grads in 2 * _gradients():
        grads = jax.tree.map(lambda g: jnp.asarray(g, jnp.bfloat16), grads)
        params, state = step(params, state, grads)
        masks.append(np.asarray(pruning.get_mask(state)["conv"]["kernel"]))
    seen = pruning.sparse_params(params, state)
    weights = np.asarray(seen["conv"]["kernel"])
    assert weights.dtype == jnp.bfloat16
    assert (np.where(masks[-1], 0, weights) == 0).all()
    if not MEMBERS[name].emergent:
        assert abs(int(masks[-1].sum()) - 24) <= max(MEMBERS[name].missing, 1)
    # Only every other step is one, and masks change only then.
    assert all(_same(a, b) for a, b in zip(masks[1::2], masks[2::2], strict=False))


def _composed(name):
    member = MEMBERS[name]
    options = _options(member) | {"packed": True}
    options.pop("rules", None)  # the labels choose
    options |= {"output": ["conv"]} if "output" in options else {}
    options |= {"partitions": 1} if "partitions" in options else {}
    # In bfloat16, Adam's b2 = 0.999 would be 1.
    inject = functools.partial(optax.inject_hyperparams, hyperparam_dtype=jnp.float32)
    sparse = inject(
        getattr(pruning, {"set": "set_"}.get(member.method, member.method)),
        static_args={"structure", "partitions", "penalty"} & options.keys(),
    )(inject(optax.adam)(0.05), **options)
    labels = {"conv": "sparse", "fc": "dense", "absent": "dense"}
    split = optax.multi_transform({"sparse": sparse, "dense": optax.sgd(0.1)}, labels)
    chain = optax.chain(optax.clip_by_global_norm(5.0), split)
    return optax.MultiSteps(chain, 2).gradient_transformation()


def _mask(name, i):
    return pruning.get_mask(_trajectory(name)[0][i][1])


def _same(a, b):
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(bool((x == y).all()) for x, y in leaves)
