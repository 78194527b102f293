"""Loop nests: bounds multiply to what is counted, densities are those of the masks."""

import itertools

import jax
import numpy as np
import pytest
import yaml

from dst_jax import cost, runs
from dst_jax.cost import workloads


@pytest.fixture(scope="module")
def nests(traces):
    return {name: workloads.loop_nest(layer) for name, layer in traces.layers.items()}


def test_what_has_no_loop_nest_is_named_and_left_out(traces):
    window = cost.Geometry((1,) * 4, ((0, 0),) * 4, (1,) * 4, (1,) * 4)
    ones = np.ones((1,) * 6, bool)
    hyper = workloads.stack([{"hyper": cost.OpProfile(ones, ones, ones, window)}])
    none = np.ones((1, 0), bool)
    removed = cost.OpProfile(none, none.T, none.T @ none, cost.Geometry())
    layers = {"hyper": hyper.layers["hyper"], "fc": traces.layers["fc"]}
    layers |= workloads.stack([{"removed": removed}]).layers
    assert {name: workloads.unsuitable(layer) for name, layer in layers.items()} == {
        "hyper": "its window has 4 spatial axes, and there are names for 3",
        "fc": None,
        "removed": "it multiplies nothing: a dimension is 0",
    }
    with pytest.raises(ValueError, match="no loop nest: its window has 4 spatial"):
        workloads.loop_nest(layers["hyper"])
    mixed = workloads.MaskTraces(layers, 3)
    assert list(workloads.timeloop(mixed)) == ["fc"]
    einsums = workloads.accelforge(mixed)["workload"]["einsums"]
    assert [einsum["name"] for einsum in einsums] == ["fc"]


def test_bounds_multiply_to_the_dense_products(traces, nests):
    for name, nest in nests.items():
        assert nest.products * 3 == traces.layers[name].counts.dense, name
    assert nests["attention"].bounds == {"G": 2, "C": 8, "M": 7, "N": 7}
    assert nests["depthwise"].bounds["G"] == 2
    assert (nests["depthwise"].bounds["C"], nests["depthwise"].bounds["M"]) == (1, 1)
    assert "G" not in nests["strided"].bounds


def test_densities_are_those_of_the_tensors_of_the_nest(traces, nests, profiles):
    for name, nest in nests.items():
        given = [found[name] for found in profiles]
        weights = [np.mean(p.weight) for p in given]
        assert nest.densities["Weights"] == pytest.approx(np.mean(weights), rel=1e-6)
        outputs = [np.mean(p.output) for p in given]
        assert nest.densities["Outputs"] == pytest.approx(np.mean(outputs), rel=1e-6)
        inputs = [np.mean(_window_reads(p, nest)) for p in given]
        assert nest.densities["Inputs"] == pytest.approx(np.mean(inputs), rel=1e-6)


def _window_reads(profile, nest):
    """The input at every place that some window reads, padded and spread with zeros."""
    geometry, bounds = profile.geometry, nest.bounds
    outputs = [range(bounds[axis.output]) for axis in nest.spatial]
    taps = [range(bounds[axis.window]) for axis in nest.spatial]
    found = {}
    for output in itertools.product(*outputs):
        for tap in itertools.product(*taps):
            place, index = [], []
            for axis, p, r, (low, _), step in zip(
                nest.spatial,
                output,
                tap,
                geometry.padding,
                geometry.lhs_dilation,
                strict=True,
            ):
                place.append(p * axis.stride + r * axis.dilation)
                index.append((place[-1] - low) / step)
            found[tuple(place)] = _element(profile.activation, index)
    return np.stack(list(found.values()))


def _element(mask, index):
    sizes = mask.shape[1:-1]
    stored = all(i in range(size) for i, size in zip(index, sizes, strict=True))
    place = map(int, index) if stored else [0] * len(sizes)
    return mask[:, *place] & stored


def test_nests_compute_what_the_layers_compute(nests, weights):
    """A nest, run as it is written, gives the output of XLA."""
    x = np.random.default_rng(2).integers(-3, 4, (1, 7, 8, 2)).astype(np.float32)
    nest, w = nests["strided"], np.round(4 * np.asarray(weights["strided"]))
    padded = np.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)))
    b = nest.bounds
    out = np.zeros((b["Q"], b["P"], b["M"]), np.float32)
    rows, columns = nest.spatial
    for q, p, s, r in np.ndindex(b["Q"], b["P"], b["S"], b["R"]):
        y = q * rows.stride + s * rows.dilation
        z = p * columns.stride + r * columns.dilation
        out[q, p] += padded[0, y, z] @ w[s, r]
    wanted = jax.lax.conv_general_dilated(
        x, w, (2, 3), ((1, 2), (0, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_array_equal(out, wanted[0])


def test_timeloop_reads_dimensions_that_its_shape_names(traces):
    for name, found in workloads.timeloop(traces).items():
        text = runs.to_yaml(found, comment=f"{name}\nof three images")
        again = yaml.safe_load(text)
        assert again == found, name
        shape, instance = again["problem"]["shape"], again["problem"]["instance"]
        known = {*shape["dimensions"], *(c["name"] for c in shape["coefficients"])}
        assert all(len(d) == 1 for d in shape["dimensions"])  # Timeloop takes letters
        assert known | {"densities"} == instance.keys()
        assert [s["name"] for s in shape["data_spaces"] if s.get("read_write")] == [
            "Outputs"
        ]
        used = set()
        for space in shape["data_spaces"]:
            used |= {word for axis in space["projection"] for t in axis for word in t}
        assert used == known
        assert instance["densities"].keys() == {"Inputs", "Weights", "Outputs"}


def test_a_problem_is_that_of_the_literature(traces):
    problem = workloads.timeloop(traces)["strided"]["problem"]
    instance = {k: v for k, v in problem["instance"].items() if k != "densities"}
    bounds = {"C": 2, "M": 6, "N": 1, "S": 5, "R": 3, "Q": 3, "P": 3}
    window = {"Wstride": 3, "Wdilation": 1, "Hstride": 2, "Hdilation": 1}
    assert instance == bounds | window
    spaces = {s["name"]: s["projection"] for s in problem["shape"]["data_spaces"]}
    assert spaces["Inputs"] == [
        [["N"]],
        [["C"]],
        [["S", "Hdilation"], ["Q", "Hstride"]],
        [["R", "Wdilation"], ["P", "Wstride"]],
    ]


def test_names_for_accelforge_are_identifiers_and_differ(traces):
    layer = traces.layers["fc"]
    names = ["0/fc", "a/b", "a_b", "Total", "größe"]
    found = workloads.accelforge(
        workloads.MaskTraces(dict.fromkeys(names, layer), 3), value_bits=8
    )
    einsums = found["workload"]["einsums"]
    assert [e["name"] for e in einsums] == [
        *("layer_0_fc", "a_b", "a_b_1", "Total_1", "gr__e")
    ]
    assert found["workload"]["bits_per_value"] == {"All": 8}
    with pytest.raises(ValueError, match="value_bits must be at least 1, got 0"):
        workloads.accelforge(traces, value_bits=0)


def test_accelforge_parses_its_file(traces, nests, tmp_path):
    """Needs AccelForge, which needs Python 3.12: `make test-accelforge`."""
    af = pytest.importorskip("accelforge", reason="needs AccelForge, Python 3.12")
    found = workloads.accelforge(traces, value_bits=8)
    path = tmp_path / "net.yaml"
    path.write_text(runs.to_yaml(found))
    spec = af.Spec.from_yaml(str(path))._spec_eval_expressions()
    for name, nest in nests.items():
        own = name.replace("/", "_")
        assert spec.workload.n_computes(own) == nest.products, name
        layer = traces.layers[name]
        sizes = {"Weights": layer.weight.size, "Outputs": layer.output.size}
        sizes["Inputs"] = _window_reads(layer.profile(0), nest).size
        for tensor, size in sizes.items():
            assert spec.workload.get_tensor_size(f"{tensor}_{own}") == size, name
        renames = spec.workload.einsums[own].renames
        for role, tensor in (("input", "Inputs"), ("weight", "Weights")):
            assert set(renames[role].source) == {f"{tensor}_{own}"}
        for tensor, density in nest.densities.items():
            assert spec.variables[f"density_{tensor}_{own}"] == density
