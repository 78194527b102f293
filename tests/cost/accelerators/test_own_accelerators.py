"""One's own accelerator, from Python and from a YAML file, as the presets are made."""

import sys
import types

import pytest

from dst_jax.cost import accelerators
from dst_jax.cost.accelerators.scnn import Scnn

TABLE = {"mac": 1.0, "buffer": 0.1, "dram": 20, "name": "ours28", "source": "28 nm"}
OWN = "{mac: 1.0, buffer: 0.1, dram: 20, name: ours28, source: 28 nm}"
FILE = f"""\
preset: scnn
numbers:
  pe_rows: 4
  pe_columns: 4
  clock: 8e8
  energy: {OWN}
sources:
  pe_rows: our chip, table 2
"""


@pytest.fixture
def file(tmp_path):
    def write(text, name="ours.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def module(monkeypatch):
    found = types.ModuleType("my_chips")
    found.SMALL = accelerators.create("scnn", pe_rows=4, pe_columns=4, clock=8e8)
    monkeypatch.setitem(sys.modules, "my_chips", found)
    return "my_chips:SMALL"


def test_a_file_is_the_preset_with_its_numbers(file):
    wanted = dict(pe_rows=4, pe_columns=4, clock=8e8, energy=TABLE)
    assert accelerators.create(file(FILE)) == accelerators.create("scnn", **wanted)
    found = accelerators.create(file(FILE), pe_rows=2)
    assert (found.pe_rows, found.pe_columns, found.energy.dram) == (2, 4, 20)
    assert accelerators.create(file("preset: eie")) == accelerators.create("eie")


def test_a_file_can_change_a_class_from_elsewhere(file):
    name = f"{Scnn.__module__}:Scnn"
    text = f"preset: {name}\nnumbers: {{kappa: 1.5}}"
    assert accelerators.create(file(text)) == Scnn(kappa=1.5)


def test_an_instance_is_an_accelerator_too(module):
    found = accelerators.create(module)
    assert (found.multipliers, found.clock) == (256, 8e8)
    assert accelerators.create(module, kappa=1.5).kappa == 1.5
    assert accelerators.create(module) == found  # its own object is not changed
    with pytest.raises(ValueError, match=r"my_chips:SMALL\.kappa must be positive"):
        accelerators.create(module, kappa=-1)


def test_a_file_and_an_instance_are_the_same_accelerator(file, module):
    assert accelerators.create(file(FILE.replace(OWN, "accelergy45_eyeriss"))) == (
        accelerators.create(module)
    )


def test_sources_of_a_file_say_what_it_says(file, module):
    path = file(FILE)
    found = accelerators.sources(path)
    assert found["pe_rows"] == (4, "our chip, table 2", "read")
    assert found["clock"] == (8e8, f"given by {path}", "assumed")
    assert found["energy"].value == "ours28"
    assert found["run_bits"] == accelerators.sources("scnn")["run_bits"]
    assert accelerators.sources(module)["pe_rows"].source == f"given by {module}"


def test_a_name_of_the_package_is_never_ones_own(file, monkeypatch, tmp_path):
    """A file or a module of the same name has another name for `create`."""
    own = file("preset: eie", name="scnn.yaml")
    module = types.ModuleType("scnn")
    module.eie = accelerators.create("dense")
    monkeypatch.setitem(sys.modules, "scnn", module)
    monkeypatch.chdir(tmp_path)
    assert accelerators.create("scnn") == Scnn()
    assert accelerators.create("scnn.yaml") == accelerators.create(own)
    assert accelerators.create(own) == accelerators.create("eie")
    assert accelerators.create("scnn:eie") == accelerators.create("dense")
    with pytest.raises(ValueError, match="would both be called 'scnn'"):
        accelerators.labels(["scnn", own])


def test_files_are_called_by_their_stems():
    names = ["scnn", "a/ours.yaml", "my_chips:SMALL"]
    assert accelerators.labels(names) == dict(
        zip(["scnn", "ours", "my_chips:SMALL"], names, strict=True)
    )
    assert accelerators.labels(["scnn", "scnn"]) == {"scnn": "scnn"}
    for other in ("b/ours.yml", "ours"):
        with pytest.raises(ValueError, match=r"would both be called 'ours'"):
            accelerators.labels(["a/ours.yaml", other])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"ours\.yaml must hold a mapping of YAML, it holds nothing"),
        ("- scnn", r"ours\.yaml must hold a mapping of YAML, it holds a list"),
        ("preset: [", r"ours\.yaml is not YAML that can be read: .*line 1"),
        (
            "preset: eie\npreset: scnn",
            r"ours\.yaml is .*'preset' is given twice.*line 2",
        ),
        ("preset: !!python/object:os.system {}", r"ours\.yaml is not YAML"),
        ("numbers: {pes: 4}", r"ours\.yaml: preset must be the name of .*, got None"),
        ("preset: scn", r"ours\.yaml: preset must be one of .*mean 'scnn'"),
        ("preset: math:pi", r"ours\.yaml: preset must be an Accelerator, got 3\.14"),
        ("preset: eie\nnumber: {}", r"ours\.yaml: an entry must be .*mean 'numbers'"),
        ("preset: eie\nnumbers: 4", r"ours\.yaml: numbers must be names and values"),
        (
            "preset: eie\nnumbers: {queu: 4}",
            r"ours\.yaml: numbers has no \['queu'\]; it has .*mean 'queue'",
        ),
        (
            "preset: eie\nnumbers: {pes: -4}",
            r"ours\.yaml: numbers\.pes must be positive, got -4",
        ),
        (
            "preset: eie\nnumbers: {pes: 4.5}",
            r"numbers\.pes is counted and must be an integer, got 4\.5",
        ),
        (
            "preset: eie\nnumbers: {pes: many}",
            r"numbers\.pes must be a whole number above 0, got 'many'",
        ),
        (
            "preset: eie\nnumbers: {clock: }",
            r"numbers\.clock must be a number above 0, got None",
        ),
        (
            "preset: eie\nnumbers: {clock: true}",
            r"numbers\.clock must be a number above 0, got True",
        ),
        ("preset: sparten\nnumbers: {exact: 1}", r"exact must be True or False, got 1"),
        ("preset: eie\nnumbers: {clock: .nan}", r"clock must be positive, got nan"),
        (
            "preset: eie\nnumbers: {energy: free}",
            r"energy table must be one of .*, got 'free'",
        ),
        (
            "preset: eie\nnumbers: {energy: 7}",
            r"numbers\.energy must be the name of a table, .*, got 7",
        ),
        (
            "preset: eie\nnumbers: {energy: {mac: 1}}",
            r"energy lacks \['buffer', 'dram', 'name', 'source'\]; a table has",
        ),
        (
            f"preset: eie\nnumbers: {{energy: {TABLE | {'mac': -1}}}}",
            r"energy\.mac must be >= 0 and finite, got -1",
        ),
        (
            f"preset: eie\nnumbers: {{energy: {TABLE | {'adder': 1}}}}",
            r"energy: a field must be one of .*, got 'adder'",
        ),
        (
            f"preset: eie\nnumbers: {{energy: {TABLE | {'name': 1}}}}",
            r"energy\.name must be a text, got 1",
        ),
        (
            "preset: eie\nnumbers: {pes: 4}\nsources: {queue: a paper}",
            r"ours\.yaml: a key of sources must be one of \('pes',\), got 'queue'",
        ),
        (
            "preset: eie\nnumbers: {pes: 4}\nsources: {pes: 7}",
            r"ours\.yaml: sources\.pes must be a text, got 7",
        ),
    ],
)
def test_errors_name_the_file_the_field_and_what_is_allowed(file, text, said):
    with pytest.raises((TypeError, ValueError), match=said):
        accelerators.create(file(text))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no\.yaml cannot be read: No such file"):
        accelerators.create(str(tmp_path / "no.yaml"))
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(ValueError, match=r"cannot be read: Is a directory"):
        accelerators.create(str(tmp_path / "folder.yaml"))


@pytest.mark.parametrize("value", ["4", True, None, {}])
def test_numbers_given_in_python_are_numbers(value):
    with pytest.raises(TypeError, match=r"scnn\.kappa must be a number above 0, got"):
        accelerators.create("scnn", kappa=value)
