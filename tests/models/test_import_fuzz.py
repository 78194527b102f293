"""Whatever a file or a mapping holds: the weights, or a clear error; nothing is run."""

import json
import os
import pickle
import struct
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save, save_file

from dst_jax.models.torch import files as torch_files
from dst_jax.models.torch import importer as torch_import
from dst_jax.models.torch.layout import layout_of

OPTIONS = {"hidden": (3,), "num_classes": 2, "input_shape": (2, 2, 1)}
WEIGHTS = {
    leaf.name: np.arange(np.prod(leaf.torch_shape), dtype=np.float32).reshape(
        leaf.torch_shape
    )
    for leaf in layout_of("mlp", **OPTIONS).leaves.values()
}
F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


class Evil:
    """Unpickled as it would like to be, it makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def _load(path):
    return torch_import.load("mlp", path, **OPTIONS)


def _raw(path, header, body=b""):
    """A file of the format's outer form, whatever the header says."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def test_the_weights_themselves_fit(tmp_path):
    save_file(WEIGHTS, tmp_path / "w.safetensors")
    kernel = _load(tmp_path / "w.safetensors")["params"]["fc1"]["kernel"]
    np.testing.assert_array_equal(kernel, WEIGHTS["fc1.weight"].T)


@pytest.mark.parametrize(
    ("header", "body", "message"),
    [
        (b"", b"", "header"),
        (b"not json", b"", "JSON"),
        (b'{"\xff": 1}', b"", "UTF-8"),
        (b"[1, 2]", b"", "JSON"),
        ({"w": {**F32, "dtype": "F33"}}, b"\0" * 8, "F33"),
        ({"w": {**F32, "shape": [-2]}}, b"\0" * 8, "-2"),
        ({"w": {**F32, "shape": [3]}}, b"\0" * 8, "w"),
        ({"w": {**F32, "shape": [2**62, 2**62]}}, b"\0" * 8, "overflow"),
        ({"w": F32}, b"\0" * 4, "not a sound"),
        ({"w": F32}, b"\0" * 12, "not a sound"),
        ({"a": F32, "b": F32}, b"\0" * 8, "offset"),
        ({"w": {**F32, "data_offsets": [8, 16]}}, b"\0" * 16, "offset"),
        ({"__metadata__": {"a": 1}, "w": F32}, b"\0" * 8, "string"),
        (
            f'{{"w": {json.dumps(F32)}, "w": {json.dumps(F32)}}}'.encode(),
            b"\0" * 8,
            "more than one w",
        ),
        (
            {"w": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}},
            b"\0" * 2,
            "w",
        ),
    ],
)
def test_a_corrupt_safetensors_file_is_refused(tmp_path, header, body, message):
    path = _raw(tmp_path / "w.safetensors", header, body)
    with pytest.raises(ValueError, match=message) as error:
        _load(path)
    assert str(path) in str(error.value)


def test_what_is_no_file_of_weights_is_refused(tmp_path):
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    with pytest.raises(ValueError, match="is a directory"):
        _load(folder)
    for name in ("w.npz", "w", "w.safetensors.bak", "w.pkl"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(
            ValueError, match=r"must end in one of \.safetensors, \.pth"
        ):
            _load(tmp_path / name)
    (tmp_path / "empty.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="not a sound"):
        _load(tmp_path / "empty.safetensors")


@pytest.mark.usefixtures("torch")
def test_an_empty_pickle_is_refused(tmp_path):
    (tmp_path / "empty.pth").write_bytes(b"")
    with pytest.raises(ValueError, match="not a plain"):
        _load(tmp_path / "empty.pth")


def test_a_header_may_not_claim_more_than_the_file(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(ValueError, match="header too large"):
        _load(path)


def test_a_safetensors_file_of_another_network_says_so(tmp_path):
    save_file({"w": np.zeros(2, np.float32)}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"w.safetensors: the weights do not fit mlp"):
        _load(tmp_path / "w.safetensors")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors"])
@pytest.mark.parametrize("form", ["pickle", "zip", "legacy", "inside", "old protocol"])
def test_a_malicious_pickle_runs_nothing(torch, tmp_path, suffix, form):
    marker, path = tmp_path / "made by a pickle", tmp_path / f"evil{suffix}"
    evil = Evil(marker)
    if form == "pickle":
        path.write_bytes(pickle.dumps(evil))
    elif form == "old protocol":
        path.write_bytes(pickle.dumps({"fc1.weight": evil}, protocol=0))
    else:
        whole = {"state_dict": {"fc1.weight": evil}} if form == "inside" else evil
        torch.save(whole, path, _use_new_zipfile_serialization=form != "legacy")
    with pytest.raises(ValueError, match=r"not a (plain file of tensors|sound)"):
        _load(path)
    assert not marker.exists()


def test_the_pickles_above_are_malicious(tmp_path):
    pickle.loads(pickle.dumps(Evil(tmp_path / "made")))
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list, not a state dict"),
        ("text", "holds a str"),
        ({"fc1.weight": 3.0, "epoch": 2}, "'fc1.weight' is a float, 'epoch' is a int"),
        ({1: "x"}, "1 is a str"),
        ({}, "missing: fc1.bias"),
        ({"model": {"model": {}}}, "'model' is a dict"),
    ],
)
def test_a_pickle_of_something_else_is_refused(torch, tmp_path, content, message):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=message):
        _load(tmp_path / "w.pth")


def test_tensors_that_are_not_dense_are_refused(torch):
    good = {name: torch.from_numpy(array) for name, array in WEIGHTS.items()}
    for odd in (good["fc1.weight"].to_sparse(), good["fc1.weight"].to("meta")):
        with pytest.raises(ValueError, match=r"not tensors: 'fc1.weight' is a Tensor"):
            torch_import.variables("mlp", {**good, "fc1.weight": odd}, **OPTIONS)


@pytest.mark.usefixtures("torch")
def test_a_torchscript_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("script/constants.pkl", b"\x80\x02).")
        archive.writestr("script/data.pkl", b"\x80\x02}.")
        archive.writestr("script/version", b"3\n")
    with pytest.raises(ValueError, match="Nothing in it was executed"):
        _load(tmp_path / "script.pt")


def test_pytorch_absent_or_too_old_is_said(tmp_path, monkeypatch):
    (tmp_path / "w.pth").write_bytes(b"")
    old = type("torch", (), {"__version__": "2.9.1+cpu"})
    monkeypatch.setitem(__import__("sys").modules, "torch", old)
    with pytest.raises(ModuleNotFoundError, match=r"2.10 or newer, found 2.9.1"):
        _load(tmp_path / "w.pth")
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r"dst_jax\[torch\]"):
        _load(tmp_path / "w.pth")


@pytest.mark.parametrize("source", [None, 3, "resnet18.pth", [("a", 1)]])
def test_what_is_no_state_dict_is_a_type_error(source):
    with pytest.raises(TypeError, match="must map names to tensors"):
        torch_import.variables("mlp", source, **OPTIONS)


def test_arrays_of_jax_are_tensors():
    ours = {name: jnp.asarray(array) for name, array in WEIGHTS.items()}
    found = torch_import.variables("mlp", ours, **OPTIONS)
    np.testing.assert_array_equal(found["params"]["fc1"]["bias"], WEIGHTS["fc1.bias"])


def _read_or_refuse(path):
    """Bytes that changed may still be a file; then they are arrays by name."""
    try:
        arrays, _ = torch_files.arrays_of(torch_files.read(path))
    except ValueError as error:
        arrays, said = {}, str(error)
    else:
        said = str(path)
    assert str(path) in said
    assert all(isinstance(array, np.ndarray) for array in arrays.values())


@given(data=st.data())
@settings(max_examples=150)
def test_damaged_safetensors_bytes(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "w.safetensors"
    path.write_bytes(_damaged(data, save(WEIGHTS)))
    _read_or_refuse(path)


@given(data=st.data())
@settings(max_examples=60)
def test_damaged_pickle_bytes(torch, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "w.pth"
    good = {name: torch.from_numpy(array) for name, array in WEIGHTS.items()}
    torch.save(good, path, _use_new_zipfile_serialization=data.draw(st.booleans()))
    path.write_bytes(_damaged(data, path.read_bytes()))
    _read_or_refuse(path)


def _damaged(data, content):
    kind = data.draw(st.sampled_from(["cut", "flip", "insert", "remove"]))
    at = data.draw(st.integers(0, len(content) - 1))
    if kind == "cut":
        return content[:at]
    if kind == "flip":
        changed = content[at] ^ data.draw(st.integers(1, 255))
        return content[:at] + bytes([changed]) + content[at + 1 :]
    if kind == "insert":
        return content[:at] + data.draw(st.binary(max_size=9)) + content[at:]
    return content[:at] + content[at + data.draw(st.integers(1, 9)) :]


@given(data=st.data())
@settings(max_examples=60)
def test_one_change_to_a_mapping_is_named(data):
    """A tensor lost, renamed, added, reshaped, spoilt or replaced is in the error."""
    name = data.draw(st.sampled_from(sorted(WEIGHTS)))
    other = data.draw(st.text(min_size=1).filter(lambda s: s not in WEIGHTS))
    changes = {
        "lose": ({name: None}, [f"missing: {name}"]),
        "rename": ({name: None, other: WEIGHTS[name]}, ["missing: ", "unused: "]),
        "add": ({other: WEIGHTS[name]}, ["unused: " + other]),
        "spoil": ({name: WEIGHTS[name] * np.nan}, [f"not finite: {name}"]),
        "replace": ({name: "weights"}, [f"not tensors: '{name}' is a str"]),
        "whole": ({name: WEIGHTS[name].astype(int)}, [f"not floats: {name} (int64)"]),
        "axis": ({name: WEIGHTS[name][None]}, [f"{name} is (1, "]),
        "longer": (
            {name: np.concatenate([WEIGHTS[name]] * 2, -1)},
            [f"{name} is ", f"must be {WEIGHTS[name].shape}"],
        ),
        "nothing": ({name: np.zeros((), np.float32)}, [f"{name} is (), must be"]),
    }
    change, said = changes[data.draw(st.sampled_from(sorted(changes)))]
    if other.rpartition(".")[2] == "num_batches_tracked":
        return
    changed = {k: v for k, v in {**WEIGHTS, **change}.items() if v is not None}
    with pytest.raises(ValueError, match="do not fit mlp") as error:
        torch_import.variables("mlp", changed, **OPTIONS)
    for text in said:
        assert text in str(error.value)
