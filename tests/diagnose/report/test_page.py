from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from itertools import permutations

import pytest

from tests.helpers.sample_sections import FACTS, MARKUP, picture, sections
from vje_ppl.diagnose.report.page import HEADLINES, MOST_ROWS, overall_level, render_report, write_report
from vje_ppl.diagnose.report.section import Level, Picture, Section, Verdict
from vje_ppl.errors import UserError


class Seen(HTMLParser):
    """Tags with their attributes in order, and the text in between."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page():
    return render_report(FACTS, sections())


@pytest.mark.parametrize("order", list(permutations(Level)), ids=lambda order: "-".join(one.name for one in order))
def test_overall_level_is_the_worst_whatever_the_order(order):
    some = [Section(level.name, level.name, [Verdict(level.name, level, "So.")]) for level in order]

    assert overall_level(some) is Level.BAD
    assert overall_level([one for one in some if one.name != "BAD"]) is Level.CAUTION
    assert overall_level([one for one in some if one.name in ("GOOD", "INFORMATION")]) is Level.GOOD
    assert overall_level([]) is Level.INFORMATION


@pytest.mark.parametrize("level", list(Level), ids=lambda level: level.name)
def test_report_says_the_worst_level_in_plain_words(level):
    text = Seen(render_report(FACTS, [Section("a", "A", [Verdict("check", level, "So.", "above 1")])])).text

    assert [said for said in HEADLINES.values() if said in text] == [HEADLINES[level]]


def test_report_lists_the_worst_first_and_links_to_its_section(page):
    verdict = page[page.index('id="verdict"') : page.index('id="section-first"')]
    links = re.findall(r'<p><a href="#(.+?)">(.+?)</a>', verdict)

    assert links == [
        ("section-first", "second check"),
        ("section-second", "third check"),
        ("section-first", "first check"),
        ("section-third", "a fact"),
    ]
    assert {f"section-{name}" for name in ("first", "second", "third")} <= {
        tag["id"] for tag in Seen(page).all("section")
    }
    assert "3 checks: 1 failed, 1 call for caution, 1 passed." in Seen(page).text


def test_report_shows_each_threshold_beside_its_verdict(page):
    text = " ".join(Seen(page).text.split())

    for said in ("It came to 0.1. Threshold: bad above 0.7", "Hardly. Threshold: below 0.5"):
        assert text.count(said) == 1, said


def test_report_shows_the_verdicts_of_each_section_as_chips_that_link_to_them(page):
    chips = re.findall(r'<a class="chip (\w+)" href="#(.+?)">.*?</span>(.+?)<span', page)

    assert chips == [
        ("good", "section-first-verdict-1", "first check"),
        ("bad", "section-first-verdict-2", "second check"),
        ("caution", "section-second-verdict-1", "third check"),
        ("information", "section-third-verdict-1", "a fact"),
    ]
    for _, anchor, name in chips:
        place = page.index(f'<li id="{anchor}">')
        assert name in page[place : page.index("</li>", place)]


def test_report_holds_whole_pictures_with_words_for_those_who_cannot_see_them(page):
    images = [image for image in Seen(page).all("img") if image["alt"]]

    assert len(images) == 3
    for image in images:
        kind, data = image["src"].split(",", 1)
        assert kind == "data:image/png;base64"
        content = base64.b64decode(data, validate=True)
        assert content.startswith(b"\x89PNG")
        assert content.endswith(b"IEND\xaeB`\x82")
        assert image["alt"] == "A rising curve"
        assert (int(image["width"]), int(image["height"])) == (576, 250)  # inches at 96 pixels, as in the style sheet


def test_report_refers_to_nothing_outside_itself(page):
    seen = Seen(page)
    addresses = [value for _, attributes in seen.tags for key, value in attributes.items() if key in ("src", "href")]

    assert addresses
    assert all(one.startswith(("data:", "#")) for one in addresses)
    assert "://" not in page
    assert not re.search(r"url\(|@import", page)
    assert not seen.all("script")
    assert not seen.all("iframe")


def everywhere(text):
    """A page with the same text in every place that comes from outside the template."""
    drawn = picture("a").figure
    return render_report(
        {"run": text, text: text},
        [
            Section(
                text,
                text,
                [Verdict(text, Level.BAD, text, text)],
                [Picture(text, drawn, text, text, f'" onload="x {text}')],
                [{text: text, "list": [text]}],
                [text],
            )
        ],
    )


def test_report_escapes_what_it_is_given():
    page = everywhere(MARKUP)
    harmless, seen = Seen(everywhere("plain")), Seen(page)

    assert "<script>" not in page
    assert [(tag, sorted(attributes)) for tag, attributes in seen.tags] == [
        (tag, sorted(attributes)) for tag, attributes in harmless.tags
    ]
    assert seen.all("img")[-1]["alt"].startswith('" onload="x <script>')
    assert seen.text.count(MARKUP) == harmless.text.count("plain") > 8


def test_report_shows_rows_as_tables_of_the_same_columns():
    rows = [{"a": 0.123456, "b": None}, {"a": float("inf"), "b": True}, {"c": "x"}, {"a": 1, "b": [1, 2]}]
    page = render_report(FACTS, [Section("a", "A", rows=rows)])
    cells = re.findall(r"<t([hd])(?: [^>]*)?>(.*?)</t[hd]>", page)

    assert [text for kind, text in cells if kind == "h"] == ["a", "b", "c", "a", "b"]
    assert [text for kind, text in cells if kind == "d"] == ["0.1235", "–", "–", "yes", "x", "1", "[1, 2]"]


def test_report_says_how_many_rows_it_leaves_out():
    rows = [{"row": row} for row in range(MOST_ROWS + 5)]
    page = render_report(FACTS, [Section("a", "A", rows=rows)])

    assert page.count("<td") == MOST_ROWS
    assert "5 more rows are in diagnosis.json" in page
    assert "more rows" not in render_report(FACTS, [Section("a", "A", rows=rows[:MOST_ROWS])])


def test_report_without_sections_says_that_nothing_was_judged():
    text = Seen(render_report({}, [])).text

    assert "Nothing was judged." in text
    assert "No check came to a verdict." in text


def test_write_report_leaves_one_file_with_the_page(tmp_path):
    page = render_report(FACTS, sections()[1:])
    write_report(tmp_path / "report.html", FACTS, sections()[1:])

    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    written = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert written == page


def test_write_report_where_nothing_can_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(UserError, match="could not be written"):
        write_report(tmp_path / "file" / "report.html", FACTS, sections()[2:])
