"""What is around the code says what is so: licence, metadata, citation, how to add."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_the_licence_is_apache_2_in_full():
    text = (ROOT / "LICENSE").read_text()
    for number in range(1, 10):
        assert f"\n   {number}. " in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["license"] == CITATION["license"] == "Apache-2.0"
    assert PROJECT["license-files"] == ["LICENSE"]
    assert not any("License ::" in line for line in PROJECT["classifiers"])


def test_the_citation_is_that_of_this_version():
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["version"] == PROJECT["version"]
    assert CITATION["authors"] == PROJECT["authors"] == [{"name": "dst_jax authors"}]
    assert {"message", "title", "type"} <= CITATION.keys()
    for paper in CITATION["references"]:
        assert {"type", "title", "authors", "year", "url"} <= paper.keys()


def test_the_pythons_are_those_that_are_tested():
    named = {line.rpartition(" :: ")[2] for line in PROJECT["classifiers"]}
    locked = {path.stem.removeprefix("ci-") for path in ROOT.glob("requirements/*.txt")}
    assert {name for name in named if re.fullmatch(r"3\.\d+", name)} == locked


def test_the_change_log_begins_with_what_is_not_released():
    log = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (\S+)", log, re.MULTILINE)
    assert versions[0] in ("Unreleased", PROJECT["version"])


def test_files_to_touch_exist():
    named = re.findall(r"`([\w./-]+(?:/|\.\w+))`", CONTRIBUTING)
    paths = [name for name in named if "/" in name or name.endswith((".md", ".toml"))]
    assert len(paths) > 50
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert not missing


def test_every_file_to_copy_is_named():
    copied = {f"tests/extending/{p.name}" for p in ROOT.glob("tests/extending/my_*.py")}
    assert copied == set(re.findall(r"`(tests/extending/my_\w+\.py)`", CONTRIBUTING))


@pytest.mark.parametrize("family", ["penalties", "pruning", "cost/accelerators"])
def test_registries_are_where_it_says(family):
    path = ROOT / "dst_jax" / family / "registry.py"
    assert f"`{path.relative_to(ROOT)}`" in CONTRIBUTING
    assert "def names()" in path.read_text()


@pytest.fixture(scope="module")
def wheel_test():
    return runpy.run_path(str(ROOT / ".ci" / "wheel_test.py"))


def test_the_wheel_is_tried_with_commands_of_the_readme(wheel_test):
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    commands = wheel_test["first_commands"](readme, makefile)
    assert all(command[0] == "-m" for command in commands)
    assert any(command[2:4] == ["--preset", "demo"] for command in commands)
    assert wheel_test["programs"](readme)


def test_first_commands_are_those_of_the_first_block_that_has_any(wheel_test):
    first = wheel_test["first_commands"]
    makefile = "demo: x\n\t$(BIN)/python -m a --b\ntest: x\n\t$(PYTEST)\n"
    rest = "```\npython -m d\n```\n"
    with_make = "```\nmake demo  # c\nmake test\n```\n"
    assert first(with_make + rest, makefile) == [["-m", "a", "--b"]]
    with_pip = "```sh\npip install .\npython -m a \\\n  --b  # c\n```\n"
    assert first(with_pip + rest, makefile) == [["-m", "a", "--b"]]
    assert first("```\nmake test\n```\n" + rest, makefile) == [["-m", "d"]]
    with pytest.raises(SystemExit, match="no block"):
        first("```\nmake test\n```\n", makefile)


@pytest.mark.parametrize("page", ["README.md", "docs/installation.md"])
def test_modules_of_commands_are_in_the_wheel(page):
    named = re.findall(r"python -m ([\w.]+)", (ROOT / page).read_text())
    own = {n for n in named if n.split(".")[0] in ("dst_jax", "experiments")}
    assert own
    for name in own - {"experiments.NAME"}:
        path = ROOT.joinpath(*name.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def test_data_from_elsewhere_say_where_from():
    origins = {
        "eyeriss_v2_pe_golden": "Accelergy-Project/micro22-sparseloop-artifact",
        "qwix_n_of_m": "google/qwix",
    }
    foreign = sorted(ROOT.glob("tests/**/*.json"))
    assert [file.stem for file in foreign] == list(origins)
    for file in foreign:
        origin = file.with_suffix(".md").read_text()
        assert f"github.com/{origins[file.stem]}" in origin
        assert "Licence: " in origin
