"""Pictures are there, and links lead somewhere."""

from __future__ import annotations

import re

import pytest

from tests.documentation.blocks import PAGES, ROOT

#: Links and pictures, code aside.
_LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", flags=re.DOTALL | re.MULTILINE)


def prose(page):
    return _CODE.sub("", page.read_text(encoding="utf-8"))


def anchors(page) -> set[str]:
    """What GitHub and the site make of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


LINKS = [
    (page, one["target"], one["text"], bool(one["picture"])) for page in PAGES for one in _LINK.finditer(prose(page))
]


@pytest.mark.parametrize(
    ("page", "target", "text", "picture"), LINKS, ids=[f"{page.name}-{target}" for page, target, _, _ in LINKS]
)
def test_a_link_leads_somewhere(page, target, text, picture):
    if target.startswith(("https://", "mailto:")):
        assert not picture, "pictures come with the project"
        return
    path, _, anchor = target.partition("#")
    found = (page.parent / path).resolve() if path else page
    assert found.is_relative_to(ROOT)
    assert found.is_file()
    if anchor:
        assert anchor in anchors(found)
    if picture:
        assert found.read_bytes().startswith(b"\x89PNG")
        assert len(text) > 20, "a picture says in words what it shows"


INCLUDES = [
    (page, one["target"], one["options"])
    for page in PAGES
    for one in re.finditer(
        r"^```\{include\} (?P<target>\S+)\n(?P<options>.*?)^```$", page.read_text("utf-8"), flags=re.S | re.M
    )
]


@pytest.mark.parametrize(
    ("page", "target", "options"), INCLUDES, ids=[f"{page.name}-{n}" for n, (page, *_) in enumerate(INCLUDES)]
)
def test_an_included_text_is_there(page, target, options):
    text = (page.parent / target).read_text(encoding="utf-8")
    start, end = (re.search(rf"^:{name}: (.*)$", options, flags=re.M)[1] for name in ("start-after", "end-before"))
    assert text.count(start) == text.count(end) == 1
    assert text.index(start) < text.index(end)


def test_every_picture_is_used():
    used = {(page.parent / target).resolve() for page, target, _, picture in LINKS if picture}
    results = {path for path in used if (ROOT / "docs/results").resolve() in path.parents}  # each of which has one
    assert {path.resolve() for path in (ROOT / "docs").glob("*.png")} == used - results
