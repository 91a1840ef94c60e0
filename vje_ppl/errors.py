"""The error for users of the command line, and untrusted text made safe for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

#: Line breaks and tabs, which text of several lines may contain, but names may not.
LAYOUT = "\n\t"
#: Categories of Unicode: control characters; surrogates, which a terminal cannot print; line separators.
_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
#: Bidirectional classes of the marks that reorder displayed text.
_REORDERING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


class UserError(ValueError):
    """An error of the user, in one sentence: what was expected, what came, what to do.

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
        keep: control characters that are not escaped, such as `LAYOUT`.
    """
    return "".join(one if one in keep or _is_harmless(one) else _escape(one) for one in text)


def _is_harmless(character: str) -> bool:
    return (
        unicodedata.category(character) not in _CATEGORIES and unicodedata.bidirectional(character) not in _REORDERING
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
