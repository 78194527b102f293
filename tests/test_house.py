"""The house stays in order: names, docstrings, lengths, the share of doctests.

The numbers hold for the package as it is: a change may improve them, never worsen them.
"""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from benchmarks import structure

PACKAGE = Path(__file__).parent.parent / "dst_jax"
SOURCES = structure.sources(PACKAGE)

LONGEST_FILE = 300
LONGEST_FUNCTION = 60
LEAST_DOCTESTS = 0.95  # share of public functions, methods aside
LEAST_DOCTESTS_WITH_METHODS = 0.85

SAME_PART = {
    "base": "what the members of a family share",
    "registry": "each family has one",
    "threshold": "the pruning method and the activation function of that name",
}


def _name(file: structure.Source) -> str:
    return str(file.path.relative_to(PACKAGE))


def test_a_file_name_is_used_twice_only_by_siblings():
    folders = defaultdict(set)
    for file in SOURCES:
        if file.path.stem != "__main__":
            folders[file.path.stem].add(file.path.parent.parent)
    assert {n for n, parents in folders.items() if len(parents) > 1} <= set(SAME_PART)


@pytest.mark.parametrize("file", SOURCES, ids=_name)
def test_files_and_functions_are_short_and_documented(file):
    assert file.lines <= LONGEST_FILE
    for function in file.functions:
        assert function.lines <= LONGEST_FUNCTION, function.node.name
    for node in file.public:
        assert ast.get_docstring(node), node.name


def test_a_type_name_means_one_thing():
    files = defaultdict(list)
    for file in SOURCES:
        for node in file.tree.body:
            if isinstance(node, ast.ClassDef):
                files[node.name].append(_name(file))
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                files[node.targets[0].id].append(_name(file))
    types = {n: f for n, f in files.items() if n[0].isupper() and not n.isupper()}
    assert not {name: found for name, found in types.items() if len(found) > 1}


def test_arguments_are_described_by_noun_phrases():
    pattern = re.compile(r"^\s+\w[\w, *]*: of .*", re.MULTILINE)
    found = [
        f"{_name(file)}: {line.strip()}"
        for file in SOURCES
        for line in pattern.findall(file.text)
    ]
    assert not found, "\n".join(found)


def test_most_public_functions_have_a_doctest():
    wings = defaultdict(list)
    for file in SOURCES:
        public = [function for function in file.functions if function.public]
        wings[file.path.relative_to(PACKAGE).parts[0]] += public
    shares = {wing: f"{_with_doctest(found):.0%}" for wing, found in wings.items()}
    print(shares)
    every = [function for found in wings.values() for function in found]
    assert _with_doctest(every) >= LEAST_DOCTESTS_WITH_METHODS, shares
    functions = [function for function in every if function.owner is None]
    assert _with_doctest(functions) >= LEAST_DOCTESTS, shares


def _with_doctest(functions: list[structure.Function]) -> float:
    return structure.share(function.has_doctest for function in functions)
