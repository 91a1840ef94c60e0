"""The error for whoever typed the command, and text from anyone as a terminal may show it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

#: Line breaks and tabulators, which text of several lines has; a name on a line of its own has none.
LAYOUT = "\n\t"
#: Categories of Unicode: controls, which a terminal obeys; half characters, which it cannot take; separators of lines.
_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
#: Bidirectional classes of the marks that show text in another order than it has.
_REORDERING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


class UserError(ValueError):
    """One sentence for the person who typed: what was expected, what came, what to do.

    The command line prints it without a traceback (with one under `debug=true`) and exits with 2.
    """


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """Return a question for the nearest known name; empty if none is near."""
    near = get_close_matches(str(given), list(known), n=1)
    return f"did you mean {near[0]}?" if near else ""


def printable(text: str, keep: str = "") -> str:
    r"""Return text with control characters and marks that reorder text written as escapes like `\x1b`.

    Args:
        text: any.
        keep: control characters to leave as they are, such as `LAYOUT`.
    """
    return "".join(one if one in keep or _is_harmless(one) else _escape(one) for one in text)


def _is_harmless(character: str) -> bool:
    return (
        unicodedata.category(character) not in _CATEGORIES and unicodedata.bidirectional(character) not in _REORDERING
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
