import itertools

import numpy as np
import pytest

from dst_jax import penalties, pruning
from dst_jax.report import html, looks
from dst_jax.report.figures import accuracy_against_sparsity, layer_rows, style
from dst_jax.report.load import load
from dst_jax.report.tables.table import Table, named

# Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB.
SIGHT = {
    "all cones": np.eye(3),
    "no long cones": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no medium cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no short cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
STAGES = [
    *("untrained start", "given weights", "dense baseline", "dense control"),
    *("pruned", "smaller", "activation-sparse", "dual sparse"),
]


def linear(colour):
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(
        values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4
    )


def difference(a, b, sight):
    """The distance of two colours in OKLab, in hundredths, as an eye sees them."""
    seen = [np.clip(np.asarray(SIGHT[sight]) @ linear(c), 0, 1) for c in (a, b)]
    return 100 * np.linalg.norm(np.subtract(*[_oklab(rgb) for rgb in seen]))


def _oklab(rgb):
    return TO_OKLAB @ np.cbrt(TO_CONES @ rgb)


def contrast(colour):
    """The contrast ratio to white, as WCAG defines it."""
    return 1.05 / (linear(colour) @ [0.2126, 0.7152, 0.0722] + 0.05)


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_of_stages_differ_for_every_eye(sight):
    drawn = looks.looks(STAGES)
    for a, b in itertools.combinations(STAGES, 2):
        assert difference(drawn[a].colour, drawn[b].colour, sight) > 10, (a, b)


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("names", [pruning.names(), penalties.names()])
def test_methods_and_penalties_differ_in_colour_or_marker(names, sight):
    drawn = looks.looks(names)
    for a, b in itertools.combinations(names, 2):
        alike = difference(drawn[a].colour, drawn[b].colour, sight) < 10
        assert not alike or drawn[a].marker != drawn[b].marker, (a, b)


def test_every_registered_name_has_a_look_of_its_own():
    for name in (*pruning.names(), *penalties.names(), *STAGES):
        assert name in looks._KNOWN  # not one that depends on the names next to it


def test_colours_are_seen_on_white():
    for look in looks._KNOWN.values():
        assert contrast(look.colour) > 2


def test_a_stage_has_the_colour_of_the_tables_in_every_figure(make_run):
    run = load(make_run())
    _, (axes,) = style.subplots(2.0, 2.0)
    layer_rows.draw_layers(axes, {"pruned": {"fc": 60.0}})
    (axes_of_runs,) = accuracy_against_sparsity.draw([run, load(make_run("b"))]).axes
    want = looks.looks(["pruned"])["pruned"].colour
    dots = axes.collections[-1].get_facecolor()[0, :3]
    assert "#" + "".join(f"{round(255 * x):02x}" for x in dots) == want
    assert axes_of_runs.lines[2].get_color() == want  # the first run's third stage
    page = html.table(Table("T", ("a",), (("pruned",),), named=named(["pruned"])))
    assert f"--mark: {want}" in page


def test_a_comparison_has_a_colour_for_a_stage_and_a_marker_for_a_run(make_run):
    runs = [load(make_run(name)) for name in ("a", "b")]
    (axes,) = accuracy_against_sparsity.draw(runs).axes
    points = [line for line in axes.lines if line.get_marker() not in ("None", None)]
    colours = [line.get_color() for line in points]
    assert colours[:4] == colours[4:]
    assert {line.get_marker() for line in points[:4]} == {"o"}
    assert {line.get_marker() for line in points[4:]} == {"s"}


def test_marks_are_attributes_and_leave_the_text_alone():
    texts = named(["pruned"]) | named(["pruned"], "{} %")
    table = Table("T", ("stage", "pruned %"), (("pruned", "1"),), named=texts)
    text = html.table(table)
    mark = 'data-mark="◆" style="--mark: #34468e"'
    assert f'<th scope="col" class="named short" {mark}>' in text
    assert ">pruned</th>" in text
    assert ">pruned %</th>" in text
