"""Odd values of every option: each is refused by name, or is valid."""

import dataclasses
import itertools
from dataclasses import replace
from typing import get_args, get_type_hints

import pytest

from benchmarks import command_lines
from benchmarks.command_lines import NUMBERS, WORDS
from experiments import accelerators, thresholds
from experiments.grid.penalties.options import PenaltyGrid
from experiments.options import Config, DataOptions, ModelOptions
from experiments.options.annotations import Range

CONFIG = Config(data=DataOptions(name="digits"), model=ModelOptions(name="mlp"))
GRID = PenaltyGrid(grid=("l1 strength=1",), data=CONFIG.data, model=CONFIG.model)


def _annotated(options):
    """Every option of a dataclass: how to reach it, and its annotated type."""
    hints = get_type_hints(type(options), include_extras=True)
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            for path, hint in _annotated(value):
                yield (field.name, *path), hint
        else:
            yield (field.name,), hints[field.name]


def _types(hint):
    """The plain types in an annotated one."""
    if isinstance(hint, Range | str):
        return set()
    inner = get_args(hint)
    return set().union(*map(_types, inner)) if inner else {hint}


@pytest.mark.parametrize(
    "options",
    [CONFIG, GRID, accelerators.Options("run"), thresholds.Options("run")],
    ids=lambda options: type(options).__name__,
)
def test_every_number_has_a_range(options):
    for path, hint in _annotated(options):
        if {int, float} & _types(hint):
            marks = getattr(hint, "__metadata__", ())
            assert any(isinstance(mark, Range) for mark in marks), path


def _values(hint):
    """Odd values of an option's type, as the parser makes them of texts."""
    kinds = _types(hint)
    found = [None] if type(None) in kinds else []
    for kind, texts in ((int, NUMBERS), (float, NUMBERS), (str, WORDS + NUMBERS)):
        for text in texts if kind in kinds else ():
            try:
                found.append(kind(text))
            except ValueError:
                continue
    several = "tuple" in str(hint)
    return [(x, x) if several and x is not None else x for x in found]


def _changed(options, path, value):
    name, *rest = path
    inner = _changed(getattr(options, name), rest, value) if rest else value
    return replace(options, **{name: inner})


def test_odd_values_are_refused_by_name_or_valid():
    tried, refused = 0, 0
    for options in (CONFIG, GRID):
        for path, hint in _annotated(options):
            if options is GRID and hasattr(CONFIG, path[0]):
                continue  # tried with the other options of an experiment
            for value in _values(hint):
                tried += 1
                try:
                    changed = _changed(options, path, value)
                    changed.check()
                    if tried % 5 == 0:
                        config = changed if options is CONFIG else changed.base()
                        config.rehearse(config.stages())
                except ValueError:
                    refused += 1
    assert tried > 2000
    assert refused > 500


@pytest.mark.slow
def test_odd_command_lines_end_in_one_line():
    for line in itertools.islice(command_lines.command_lines(seed=1), 30):
        status, said = command_lines.planned(line)
        assert not command_lines.wrong(status, said), (line, status, said)
