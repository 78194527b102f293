"""Links between the files of the documentation lead somewhere, as GitHub shows them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/*.md")])
FILES = [file for file in dict.fromkeys(FILES) if "_build" not in file.parts]
# The reference is made when the site is built; these are the pages that it makes.
MADE = re.compile(r"api/\w+\.rst")


def _prose(text: str) -> str:
    """The text without blocks and spans of code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def _anchors(text: str) -> set[str]:
    """The anchors that GitHub gives headings."""
    heads = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    kept = [re.sub(r"[^\w\- ]", "", head.strip().lower()) for head in heads]
    return {head.replace(" ", "-") for head in kept}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file):
    for link in re.findall(r"\]\(([^)\s]+)\)", _prose(file.read_text())):
        path, _, anchor = link.partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        target = (file.parent / path).resolve() if path else file
        assert target.exists() or MADE.search(path), f"{file.name}: {link}"
        if anchor and target.suffix == ".md":
            assert anchor in _anchors(target.read_text()), f"{file.name}: {link}"


def test_a_broken_link_is_noticed(tmp_path):
    assert _anchors("# What was measured, and what not\n") == {
        "what-was-measured-and-what-not"
    }
    assert "x" not in _prose("`[a](x)` ```\n[a](x)\n```")
