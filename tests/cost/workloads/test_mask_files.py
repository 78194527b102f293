"""The file of masks holds every array exactly, and refuses to be another file."""

import json
from dataclasses import replace

import numpy as np
import pytest

from dst_jax import cost
from dst_jax.cost import workloads


def test_a_file_gives_back_every_array(traces, profiles, tmp_path):
    again = workloads.load(workloads.save(tmp_path / "net.npz", traces))
    assert (again.images, again.info) == (3, {"stage": "dual", "top1": 0.5})
    assert list(again.layers) == list(profiles[0])
    for i, given in enumerate(profiles):
        for name, profile in again.profiles(i).items():
            assert profile.geometry == given[name].geometry
            for mask in ("activation", "weight", "output"):
                found, wanted = getattr(profile, mask), getattr(given[name], mask)
                assert found.dtype == bool
                np.testing.assert_array_equal(found, wanted, err_msg=f"{name}/{mask}")
    for name, layer in again.layers.items():
        assert layer.counts == traces.layers[name].counts


def test_weights_that_depend_on_data_have_a_row_an_image(traces):
    rows = {name: len(layer.weight.bits) for name, layer in traces.layers.items()}
    assert rows.pop("attention") == 3
    assert set(rows.values()) == {1}


def test_any_reader_of_numpy_files_can_unpack_it(traces, profiles, tmp_path):
    with np.load(workloads.save(tmp_path / "net.npz", traces)) as file:
        index = json.loads(file["index"].tobytes())
        record = next(r for r in index["layers"] if r["name"] == "transposed")
        bits = file[f"{record['arrays']}/activation"]
    rows, shape = index["images"], record["activation"]
    flat = [[(bits[i, j // 8] >> (j % 8)) & 1 for j in range(112)] for i in range(rows)]
    found = np.array(flat, bool).reshape(rows, *shape)
    wanted = np.stack([p["transposed"].activation for p in profiles])
    np.testing.assert_array_equal(found, wanted)
    assert record["kind"] == "convolution"
    assert record["lhs_dilation"] == [2, 2]
    assert record["padding"] == [[1, 2], [2, 1]]


def test_the_same_masks_give_the_same_bytes(traces, tmp_path):
    first = workloads.save(tmp_path / "a.npz", traces).read_bytes()
    assert workloads.save(tmp_path / "b.npz", traces).read_bytes() == first


def test_what_is_no_file_of_masks_is_named(traces, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        workloads.load(tmp_path / "none.npz")
    other = tmp_path / "other.npz"
    np.savez(other, x=np.zeros(2))
    with pytest.raises(ValueError, match=r"other\.npz holds no operand masks: .*index"):
        workloads.load(other)
    other.write_text("a note")
    with pytest.raises(ValueError, match=r"other\.npz holds no operand masks"):
        workloads.load(other)
    np.save(tmp_path / "one.npy", np.zeros(2))
    with pytest.raises(ValueError, match=r"one\.npy holds no operand masks"):
        workloads.load(tmp_path / "one.npy")


@pytest.mark.parametrize(
    ("entry", "value", "said"),
    [
        ("version", 2, "its version is 2, not 1"),
        ("format", "masks", "its format is 'masks'"),
        ("images", 4, r"000/activation must be uint8 of shape \(4, 14\)"),
        ("layers", 7, "not iterable"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(traces, tmp_path, entry, value, said):
    path = workloads.save(tmp_path / "net.npz", traces)
    with np.load(path) as file:
        arrays = dict(file)
    index = json.loads(arrays["index"].tobytes()) | {entry: value}
    arrays["index"] = np.frombuffer(json.dumps(index).encode(), np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=said):
        workloads.load(path)


def test_a_damaged_file_is_named(traces, tmp_path):
    path = workloads.save(tmp_path / "net.npz", traces)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"net\.npz"):
        workloads.load(path)
    path.write_bytes(content[:100])
    with pytest.raises(ValueError, match=r"net\.npz"):
        workloads.load(path)


def test_images_of_several_networks_are_not_stacked(traces, profiles):
    with pytest.raises(ValueError, match="at least one image"):
        workloads.stack([])
    first, second = profiles[:2]
    with pytest.raises(ValueError, match=r"images 0 and 1 differ in \['fc'\]"):
        workloads.stack([first, {k: v for k, v in second.items() if k != "fc"}])
    other = replace(second["fc"], weight=~np.asarray(second["fc"].weight))
    with pytest.raises(ValueError, match="images 0 and 1 have other weights of fc"):
        workloads.stack([{"fc": first["fc"]}, {"fc": other}])
    moved = replace(second["fc"], geometry=cost.Geometry(dynamic=True))
    with pytest.raises(ValueError, match="move fc differently"):
        workloads.stack([{"fc": first["fc"]}, {"fc": moved}])
    larger = replace(second["fc"], activation=np.ones((2, 112), bool))
    with pytest.raises(ValueError, match="profiles of fc have several shapes"):
        workloads.stack([{"fc": first["fc"]}, {"fc": larger}])
    with pytest.raises(IndexError, match=r"image must be in \[0, 3\), got 3"):
        traces.profiles(3)
