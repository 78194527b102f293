"""`import dst_jax` is free; its parts are there when they are named."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import dst_jax

PACKAGE = Path(dst_jax.__file__).parent
PARTS = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or p.is_dir()}


def _run(program: str) -> list[str]:
    """What another Python prints, word by word."""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()


def test_every_part_is_named():
    parts = {name for name in PARTS if not name.startswith("__")}
    assert set(dst_jax.__all__) == parts | {"__version__"}
    assert dir(dst_jax) == sorted(dst_jax.__all__)


def test_the_import_alone_imports_no_other_package_and_takes_no_time():
    program = """if True:
        import sys, time
        before, start = set(sys.modules), time.process_time()
        import dst_jax
        seconds = time.process_time() - start
        new = {name for name in sys.modules if name not in before}
        print(seconds, *new - set(sys.stdlib_module_names))"""
    seconds, *imported = _run(program)
    assert {name for name in imported if "." not in name} == {"dst_jax"}
    assert float(seconds) < 0.1


def test_a_part_is_imported_when_it_is_named():
    program = """if True:
        import sys, dst_jax
        print("jax" in sys.modules, dst_jax.penalties.__name__, "jax" in sys.modules)"""
    assert _run(program) == ["False", "dst_jax.penalties", "True"]


def test_an_unknown_part_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"dst_jax' has no attribute 'penaltys'"):
        dst_jax.penaltys  # noqa: B018


def test_the_version_is_the_installed_one(monkeypatch):
    assert dst_jax.__version__ == metadata.version("dst_jax")

    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    assert dst_jax.__version__ == "0+unknown"


def test_types_are_shipped():
    assert (PACKAGE / "py.typed").is_file()
