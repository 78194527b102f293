"""Docstrings of the package as reStructuredText, which Napoleon reads further.

They are plain text: a formula is an indented block, code stands in backticks, and `*`,
`|` and a trailing `_` mean themselves.
"""

import re
from collections.abc import Iterator

__all__ = ["converted", "inline"]

_SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises|References?):$")
_BEFORE, _AFTER = "'\"([{<-/:", "'\")]}>-/\\:.,;!?"
"""What may stand next to code; reStructuredText needs an escaped space elsewhere."""

_NAME = re.compile(r"[A-Za-z_][\w.]*$")


def converted(lines: list[str]) -> list[str]:
    """The lines of a docstring, without common indentation, as reStructuredText."""
    return [line for block in _blocks(lines) for line in [*block, ""]]


def inline(text: str) -> str:
    """Text with code in backticks, other characters meaning themselves.

    A name becomes a link if there is a page for it.
    """
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return _escaped(text)
    made = [_escaped(parts[0])]
    for code, after in zip(parts[1::2], parts[2::2], strict=True):
        joined = " ".join(code.split())
        tick = "`" if _NAME.match(joined) and not joined.endswith("_") else "``"
        before = "".join(made)[-1:]
        space = "" if before in _BEFORE or before.isspace() else "\\ "
        end = "" if after[:1] in _AFTER or after[:1].isspace() else "\\ "
        made.append(f"{space}{tick}{joined}{tick}{end}")
        made.append(_escaped(after))
    return "".join(part for part in made if part)


def _escaped(text: str) -> str:
    text = re.sub(r"([\\*|])", r"\\\1", text)
    return re.sub(r"(?<=\w)_(?!\w)", r"\\_", text)


def _blocks(lines: list[str]) -> Iterator[list[str]]:
    """Blocks between empty lines, one after another."""
    section = False
    for block in _joined(_split(lines)):
        first = block[0]
        if _SECTION.match(first):
            section = True
            yield [first, *_items(block[1:])]
        elif first.lstrip().startswith(">>>"):
            section = section and first.startswith(" ")
            yield block
        elif not first.startswith(" "):
            section = False
            yield inline("\n".join(block)).split("\n")
        elif section:
            yield _items(block)
        else:
            yield ["::", "", *block]


def _split(lines: list[str]) -> list[list[str]]:
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            blocks[-1].append(line.rstrip())
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _joined(blocks: list[list[str]]) -> Iterator[list[str]]:
    """Blocks with text and what is indented or listed below it apart."""
    for block in blocks:
        if _SECTION.match(block[0]) or block[0].startswith((" ", ">>>")):
            yield block
            continue
        part: list[str] = []
        for line in block:
            turns = part and line.startswith(" ") and not part[0].startswith("- ")
            if part and (line.startswith("- ") or (turns and part[0][0] != " ")):
                yield part
                part = []
            part.append(line)
        yield part


def _items(lines: list[str]) -> list[str]:
    return inline("\n".join(lines)).split("\n") if lines else []
