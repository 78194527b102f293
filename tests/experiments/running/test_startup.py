"""A command line is read, or refused, before anything slow is imported."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMMANDS = sorted(
    path.stem for path in (ROOT / "experiments").glob("*.py") if path.stem[0] != "_"
)
SLOW = {"flax", "grain", "jax", "jaxlib", "matplotlib", "numpy", "optax", "orbax"}
SLOW |= {"rich", "scipy", "sklearn", "torch"}

# Each command in turn, as `python -m experiments.NAME OPTION` runs it.
EACH = """
import contextlib, io, json, runpy, sys
found = {}
for name in sys.argv[2:]:
    sys.argv = [name, sys.argv[1]]
    with contextlib.redirect_stdout(io.StringIO()) as said, \\
            contextlib.redirect_stderr(said):
        try:
            runpy.run_module(f"experiments.{name}", run_name="__main__")
        except SystemExit as ended:
            code = ended.code
    roots = sorted({module.partition(".")[0] for module in sys.modules})
    found[name] = {"code": code, "roots": roots, "said": said.getvalue()}
print(json.dumps(found))
"""


@pytest.mark.parametrize(
    ("option", "code", "says"),
    [("--help", 0, "usage: python -m experiments."), ("--no-such-option", 2, "--help")],
)
def test_neither_help_nor_a_typo_imports_what_is_slow(option, code, says):
    finished = subprocess.run(
        [sys.executable, "-c", EACH, option, *COMMANDS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(finished.stdout)
    assert list(found) == COMMANDS
    for name, one in found.items():
        assert one["code"] == code, name
        assert SLOW.isdisjoint(one["roots"]), name
        assert says in one["said"], name


@pytest.mark.parametrize(
    "arguments",
    [("mnist_lenet5", "--help"), ("mnist_lenet5", "--data.batch-size", "0")],
)
def test_the_answer_takes_less_than_a_second_of_a_core(arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    name, *options = arguments
    subprocess.run(
        [sys.executable, "-m", f"experiments.{name}", *options],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def test_only_commands_are_at_the_top_level():
    for name in COMMANDS:
        text = (ROOT / "experiments" / f"{name}.py").read_text()
        assert f"python -m experiments.{name}" in text
        assert 'if __name__ == "__main__":' in text
