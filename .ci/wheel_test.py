"""Builds a wheel, installs it into a new environment and does what README says first.

    python .ci/wheel_test.py

The interpreter that runs this file builds the source distribution, the wheel from it,
and the environment. In an empty directory, where nothing of the checkout can be
imported, it then runs the commands of README's first block that holds one of
`python -m`, or of `make` with a recipe of such, and README's programs. Exit status: 0,
or 1 where something fails.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INSTALLED = """if True:
    import pathlib, sys
    import dst_jax, experiments
    from importlib import metadata
    for package in (dst_jax, experiments):
        assert pathlib.Path(package.__file__).is_relative_to(sys.prefix), package
    assert dst_jax.__version__ == sys.argv[1], dst_jax.__version__
    names = [str(path) for path in metadata.files("dst_jax")]
    assert "dst_jax/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    pages = [name for name in names if name.startswith("dst_jax/docs/")]
    assert {"dst_jax/docs/pruning.md", "dst_jax/docs/tutorials/counting.md"} <= {*pages}
    assert all(name.endswith(".md") for name in pages), pages
    import dst_jax.penalties
    assert not {"flax", "tensorflow_datasets", "matplotlib"} & sys.modules.keys()"""


def first_commands(readme: str, makefile: str) -> list[list[str]]:
    """The arguments of `python` in README's first block of commands that has any."""
    for block in re.findall(r"^```\w*\n(.*?)^```", readme, re.DOTALL | re.MULTILINE):
        lines = block.replace("\\\n", " ").splitlines()
        commands = [line.partition("#")[0].split() for line in lines]
        if found := [part for words in commands for part in modules(words, makefile)]:
            return found
    raise SystemExit("README.md has no block with a line of python -m")


def modules(command: list[str], makefile: str) -> list[list[str]]:
    """The arguments of `python -m` in a command, or in the recipe of `make TARGET`."""
    if command[:2] == ["python", "-m"]:
        return [command[1:]]
    if command[:1] != ["make"] or len(command) < 2:
        return []
    recipe = rf"^{re.escape(command[1])}:.*\n((?:\t.*\n)+)"
    lines = "".join(re.findall(recipe, makefile, re.MULTILINE)).splitlines()
    words = [line.split() for line in lines]
    return [w[1:] for w in words if w[:2] == ["$(BIN)/python", "-m"]]


def programs(readme: str) -> list[str]:
    """README's blocks of Python."""
    return re.findall(r"^```python\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)


def environment(folder: Path, *packages: str) -> Path:
    """The interpreter of a new environment with packages installed."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    timed([str(python), "-m", "pip", "install", "--quiet", *packages], folder)
    return python


def timed(command: list[str], folder: Path) -> None:
    """Runs a command in a folder, and prints it and how long it took."""
    start = time.perf_counter()
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=clean)
    words = [word if "\n" not in word else "..." for word in command[1:]]
    print(f"{time.perf_counter() - start:.0f} s: python {' '.join(words)}", flush=True)
    if done.returncode:
        raise SystemExit(f"exit status {done.returncode}")


def main() -> None:
    """Builds, installs, and runs README's commands and programs."""
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with tempfile.TemporaryDirectory(prefix="dst_jax-wheel-") as name:
        work = Path(name)
        builder = environment(work / "builder", "build")
        timed([str(builder), "-m", "build", "--outdir", "dist", str(ROOT)], work)
        (wheel,) = (work / "dist").glob("*.whl")
        python = str(environment(work / "installed", str(wheel)))
        empty = work / "empty"
        empty.mkdir()
        timed([python, "-c", INSTALLED, project["version"]], empty)
        for command in (["-m", "experiments"], *first_commands(readme, makefile)):
            timed([python, *command], empty)
        for program in programs(readme):
            timed([python, "-c", program], empty)
        if not list(empty.glob("runs/*/report.html")):
            raise SystemExit("README's first commands have written no report.html")


if __name__ == "__main__":
    sys.exit(main())
