"""Files of PyTorch before 1.6: read as PyTorch reads them, refused where they lie."""

import collections
import io
import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax.models.torch import files, legacy, plain_pickle

MAGIC = 0x1950A86A20F9469CFC6C
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}


class Torch:
    """What is pickled as a name of PyTorch, or as a call of it, without PyTorch."""

    def __init__(self, name, arguments=None):
        self.name, self.arguments = name, arguments


class Pickler(pickle._Pickler):
    """Writes the names of `Torch` as they are, and storages as persistent ids."""

    def persistent_id(self, obj):
        return obj.reference if isinstance(obj, Storage) else None

    def save(self, obj, save_persistent_id=True):
        if not isinstance(obj, Torch):
            super().save(obj, save_persistent_id)
            return
        module, _, attribute = obj.name.rpartition(".")
        self.write(f"c{module}\n{attribute}\n".encode())
        if obj.arguments is not None:
            self.save(obj.arguments)
            self.write(b"R")


class Storage:
    def __init__(self, size, *, key="0", kind="torch.FloatStorage", **changed):
        reference = {"word": "storage", "kind": Torch(kind), "key": key}
        reference |= {"location": "cpu", "size": size, "view": None, **changed}
        self.reference = tuple(reference.values())


def tensor(storage, offset, size, stride, name="torch._utils._rebuild_tensor_v2"):
    hooks = collections.OrderedDict()
    return Torch(name, (storage, offset, size, stride, False, hooks))


def dumped(obj):
    out = io.BytesIO()
    Pickler(out, protocol=2).dump(obj)
    return out.getvalue()


def written(path, obj, *, values=(0.0, 1.0, 2.0, 3.0), **changed):
    """A file of one float storage; parts of it may be others."""
    raw = np.asarray(values, "<f4")
    parts = {
        "magic": dumped(MAGIC),
        "version": dumped(1001),
        "system": dumped(SYSTEM),
        "object": dumped(obj),
        "keys": dumped(["0"]),
        "count": len(raw).to_bytes(8, "little"),
        "raw": raw.tobytes(),
        "rest": b"",
    }
    path.write_bytes(b"".join((parts | changed).values()))
    return path


FLOATS = Storage(4)
MATRIX = tensor(FLOATS, 0, (2, 2), (2, 1))


def test_a_file_without_pytorch(tmp_path):
    state = {"w": MATRIX, "t": tensor(FLOATS, 1, (1, 3), (7, 1)), "epoch": 3}
    state["p"] = Torch("torch._utils._rebuild_parameter", (MATRIX, True, {}))
    state["shape"] = Torch("torch.Size", ((2, 3),))
    state["none"] = tensor(FLOATS, 4, (0, 5), (5, 1))
    path = written(tmp_path / "w.pth", [state, (None, True, 2.5)])
    assert legacy.is_legacy(path)
    found, others = legacy.read(path)
    assert others == (None, True, 2.5)
    assert found["w"].tolist() == found["p"].tolist() == [[0.0, 1.0], [2.0, 3.0]]
    assert found["t"].tolist() == [[1.0, 2.0, 3.0]]
    assert (found["epoch"], found["shape"], found["none"].shape) == (3, (2, 3), (0, 5))


def test_what_torch_save_writes_is_what_torch_load_reads(torch, tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    base = torch.arange(24.0).reshape(4, 6)
    saved = {"net": net.state_dict(), "views": [base.T, base[1:3, ::2], base[0, 0]]}
    saved["parameter"] = torch.nn.Parameter(base[:2])
    saved["empty"] = torch.zeros(0, 3)
    saved["plain"] = [1, -(2**40), 2.5, "text", None, (True, {"a": torch.Size([2])})]
    names = ("float64", "float16", "bfloat16", "int64", "int32", "int16", "int8")
    for name in (*names, "uint8", "bool"):
        saved[name] = torch.tensor([0, 1, 2, 100]).to(getattr(torch, name))
    torch.save(saved, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert legacy.is_legacy(tmp_path / "w.pth")
    found = legacy.read(tmp_path / "w.pth")
    assert found["plain"][:5] == saved["plain"][:5]
    assert found["plain"][5] == (True, {"a": (2,)})
    pairs = [(found[name], saved[name]) for name in (*names, "uint8", "bool")]
    pairs += list(zip(found["views"], saved["views"], strict=True))
    pairs += [(found["net"][name], saved["net"][name]) for name in saved["net"]]
    pairs += [
        (found["parameter"], saved["parameter"]),
        (found["empty"], saved["empty"]),
    ]
    assert len(pairs) == 9 + 3 + 7 + 2
    for ours, theirs in pairs:
        assert ours.shape == tuple(theirs.shape)
        assert f"torch.{ours.dtype}" == str(theirs.dtype)
        np.testing.assert_array_equal(
            ours.astype(float), theirs.detach().to(torch.float64).numpy()
        )


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


MALICIOUS = {
    "a call": (lambda marker: Evil(marker), "it names"),
    "in a list": (lambda marker: [1, {"w": Evil(marker)}], "it names"),
    "a function": (lambda _: os.system, "it names"),
    "eval": (lambda _: Torch("builtins.eval", ("1",)), "it names 'builtins eval'"),
    "torch.load": (lambda _: Torch("torch.load", ("x",)), "it names 'torch load'"),
    "a hub": (lambda _: Torch("torch.hub.load", ("a", "b")), "it names 'torch.hub"),
    "a dtype": (
        lambda _: Torch("torch.FloatStorage", (3,)),
        "calls what is no function",
    ),
    "a dict of calls": (
        lambda _: Torch("collections.OrderedDict", ([("a", 1)],)),
        "makes a dict of",
    ),
    "a module": (lambda _: [Storage(4, word="module")], "holds a module"),
}


@pytest.mark.parametrize("case", MALICIOUS)
def test_nothing_is_executed(tmp_path, case):
    make, message = MALICIOUS[case]
    marker = tmp_path / "made"
    path = written(tmp_path / "w.pth", make(marker))
    with pytest.raises(ValueError, match=message) as error:
        files.read(path)
    assert "Nothing in it was executed" in str(error.value)
    assert str(path) in str(error.value)
    assert not marker.exists()


# Protocol 2, by hand: what a pickler would not write.
SET = b"ccollections\nOrderedDict\n"
BUILT = {
    "attributes of a function": (SET + b"N}b", "sets attributes of what is no dict"),
    "attributes of a number": (b"K\x01}b", "sets attributes of what is no dict"),
    "a class": (SET + b")\x81", "the instruction NEWOBJ"),
    "an instance": (b"(iposix\nsystem\n", "the instruction INST"),
    "an object": (b"(cposix\nsystem\no", "it names 'posix system'"),
    "an extension": (b"\x82\x01", "the instruction EXT1"),
    "of protocol 4": (b"\x8c\x05posix\x8c\x06system\x93", "SHORT_BINUNICODE"),
    "protocol 5": (b"\x80\x05N", "the instruction PROTO 5"),
    "a reference in text": (b"P0\n", "the instruction PERSID"),
    "a call without arguments": (SET + b"K\x01R", "calls what is no function"),
    "a key of tuples": (b"}))\x86K\x01s", "neither text nor number"),
    "half an item": (b"}(K\x01u", "what is no dict"),
    "an item of a list": (b"]K\x01K\x01s", "what is no dict"),
    "an element of a dict": (b"}K\x01a", "what is no list"),
    "elements of nothing": (b"(K\x01e", "a value that is not there"),
    "a tuple without mark": (b"K\x01t", "a value that is not there"),
    "a tuple of too little": (b"K\x01\x86", "a value that is not there"),
    "a memory that is empty": (b"h\x07", "a value that is not there"),
    "memory of nothing": (b"q\x07", "a value that is not there"),
    "two values": (b"K\x01K\x02", "must leave one value"),
    "no value": (b"", "must leave one value"),
    "a mark": (b"K\x01(", "must leave one value"),
    "a long text": (b"X\xff\xff\xff\xffa", "expected 4294967295 bytes"),
    "a broken text": (b"X\x01\x00\x00\x00\xff", "utf-8"),
    "an unknown instruction": (b"\xff", "opcode"),
}


@pytest.mark.parametrize("case", BUILT)
def test_instructions_that_no_state_dict_has_are_refused(tmp_path, case):
    instructions, message = BUILT[case]
    pickled = b"\x80\x02" + instructions + b"."
    with pytest.raises(ValueError, match=message):
        files.read(written(tmp_path / "w.pth", None, object=pickled))


def test_a_function_of_the_table_cannot_be_changed():
    function = plain_pickle.AllowedCall(print)
    with pytest.raises(AttributeError):
        function.other = 1  # type: ignore


HUGE = 2**62
CONTRADICTIONS = {
    "beyond": (tensor(FLOATS, 0, (2, 3), (3, 1)), "ends at 6 of a storage of 4"),
    "offset": (tensor(FLOATS, 3, (2,), (1,)), "ends at 5 of a storage of 4"),
    "stride": (tensor(FLOATS, 0, (2,), (HUGE,)), "of a storage of 4"),
    "expanded": (tensor(FLOATS, 0, (HUGE,), (0,)), r"save its clone\(\) instead"),
    "negative stride": (tensor(FLOATS, 3, (2,), (-1,)), "strides of a tensor must"),
    "negative offset": (tensor(FLOATS, -1, (2,), (1,)), "offset of a tensor must"),
    "negative size": (tensor(FLOATS, 0, (-2,), (1,)), "size of a tensor must"),
    "size in floats": (tensor(FLOATS, 0, (2.0,), (1,)), "size of a tensor must"),
    "a bool": (tensor(FLOATS, True, (2,), (1,)), "offset of a tensor must"),
    "axes": (tensor(FLOATS, 0, (2, 2), (1,)), "2 axes and 1 strides"),
    "many axes": (tensor(FLOATS, 0, (1,) * 65, (1,) * 65), "65 axes"),
    "empty and huge": (tensor(FLOATS, 0, (0, 2**80), (1, 1)), "not a plain file"),
    "no storage": (tensor([0.0], 0, (1,), (1,)), "a tensor without a storage"),
    "a tensor as storage": (tensor(MATRIX, 0, (1,), (1,)), "without a storage"),
    "no tensor": (
        Torch("torch._utils._rebuild_parameter", (3, True, {})),
        "without a tensor",
    ),
    "too long": ([Storage(HUGE)], "longer than the file"),
    "negative": ([Storage(-1)], "size of a storage must"),
    "two sizes": ([FLOATS, Storage(2)], "describes the storage '0' in two ways"),
    "two types": ([FLOATS, Storage(4, kind="torch.IntStorage")], "in two ways"),
    "another key": ([FLOATS, Storage(4, key="1")], "list of storages is not that"),
    "a view": ([Storage(4, view=("1", 0, 2))], "no storage of its own"),
    "another word": ([Storage(4, word="other")], "no storage of its own"),
    "more words": ([Storage(4, more=1)], "no storage of its own"),
    "a function as type": ([Storage(4, kind="torch.Size")], "without type or key"),
    "a number as key": ([Storage(4, key=0)], "without type or key"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_what_contradicts_itself_is_refused(tmp_path, case):
    obj, message = CONTRADICTIONS[case]
    with pytest.raises(ValueError, match=message) as error:
        files.read(written(tmp_path / "w.pth", obj))
    assert "not a plain file of tensors" in str(error.value)


PARTS = {
    "version": (dumped(1002), "version 1001"),
    "system": (dumped({"little_endian": False}), "little-endian"),
    "keys": (dumped({"0": 1}), "list of storages"),
    "count": ((5).to_bytes(8, "little"), "storage '0' is cut short"),
    "raw": (b"\0" * 15, "storage '0' is cut short"),
    "rest": (b"\0", "goes on after its last storage"),
}


@pytest.mark.parametrize("part", PARTS)
def test_other_parts_of_the_file_are_checked(tmp_path, part):
    content, message = PARTS[part]
    path = written(tmp_path / "w.pth", MATRIX, **{part: content})
    with pytest.raises(ValueError, match=message):
        files.read(path)


def test_a_file_that_is_cut_short_anywhere_is_refused(tmp_path):
    path = written(tmp_path / "w.pth", {"w": MATRIX})
    content = path.read_bytes()
    for end in range(len(content)):
        path.write_bytes(content[:end])
        with pytest.raises(ValueError):  # noqa: PT011  - many messages
            legacy.read(path)


@given(st.data())
@settings(max_examples=100)
def test_changed_bytes_give_arrays_or_one_error(tmp_path_factory, data):
    path = written(tmp_path_factory.mktemp("fuzz") / "w.pth", {"w": MATRIX})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(15, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        said = type(files.read(path)).__name__
    except ValueError as error:
        said = str(error)
    assert said == "dict" or str(path) in said
