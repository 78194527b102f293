"""Every public name has something to say and a page that it is on."""

import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))

from building import docstrings, public_names, signatures  # noqa: E402

from dst_jax import penalties  # noqa: E402

IMPORT = re.compile(r"^\s*from (dst_jax[\w.]*) import (\([^)]*\)|[^\n]*)", re.MULTILINE)


@pytest.fixture(scope="module")
def known():
    return {name.path for name in public_names.every()}


def test_every_public_name_is_documented():
    every = public_names.every()
    assert len(every) > 500
    assert [name.path for name in every if not name.doc] == []


def test_every_wing_has_a_page():
    import dst_jax

    wings = set(dst_jax.__all__) - {"__version__", "jaxprs"}  # jaxprs is inner
    assert wings | {"options"} == set(public_names.PAGES)
    index = (DOCS / "index.md").read_text()
    assert {f"api/{page}" for page in public_names.PAGES} <= set(index.split())


def test_what_the_pages_import_is_documented(known):
    modules = {m for page in public_names.PAGES for m in public_names.modules(page)}
    files = [DOCS.parent / "README.md", *DOCS.glob("*.md"), *DOCS.glob("*/*.md")]
    for file in files:
        for module, names in IMPORT.findall(file.read_text()):
            if module == "dst_jax":
                continue
            for name in re.findall(r"\w+", re.sub(r" as \w+|#.*", "", names)):
                path = f"{module}.{name}"
                assert path in known or path in modules, f"{file.name}: {path}"


def test_constants_have_the_string_below_their_assignment():
    assert public_names.assignment("dst_jax.typing", "Scalar") == (
        "jax.typing.ArrayLike",
        "A number that may be traced.",
    )
    assert public_names.assignment("dst_jax.channels", "Keep")[1]  # where it is made
    assert public_names.assignment("dst_jax.runs", "GIVEN")[0] == "'given weights'"
    assert public_names.assignment("dst_jax.typing", "nothing") == ("", "")


def test_signatures_have_types_and_shapes_as_written():
    given, returned = signatures.signature(penalties.transformed_l1)
    assert given == ("(x: Float[Array, '...'], *, a: Scalar = 1.0, axis: Axis = None)")
    assert returned == "Float[Array, '...']"


def test_docstrings_mean_what_they_say():
    lines = "R is `|x|` of *args, `total`.\n\n    R = |x|\n\nArgs:\n  x_: one `a`s."
    assert docstrings.converted(lines.splitlines()) == [
        r"R is ``|x|`` of \*args, `total`.",
        "",
        "::",
        "",
        "    R = |x|",
        "",
        "Args:",
        r"  x\_: one `a`\ s.",
        "",
    ]
