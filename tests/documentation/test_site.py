"""The site builds without a warning, and its pages need nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser

import pytest

from tests.documentation.blocks import ROOT, SITE


@pytest.fixture(scope="module", autouse=True)
def _extensions_can_be_imported():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        yield
        for name in [one for one in sys.modules if one.split(".")[0] == "extensions"]:
            del sys.modules[name]


def restructured(text: str) -> str:
    from extensions.docstrings import restructured

    return "\n".join(restructured(text.splitlines()))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("One line.\n\n    a = b_c * d\n\nMore.", "One line.\n\n::\n\n    a = b_c * d\n\nMore."),
        ("Args:\n    x: a *star* and a|b", "Args:\n    x: a \\*star\\* and a\\|b"),
        ("See `Polar` and `f(x)`.", "See :py:obj:`.Polar` and ``f(x)``."),
        ("`shape`s of z_ and z_b", "``shape``\\ s of z\\_ and z_b"),
    ],
    ids=["formula", "section", "names", "underscores"],
)
def test_docstrings_are_read_as_they_are_meant(written, read):
    assert restructured(written) == read


def test_formulas_become_mathml_and_unknown_commands_stop():
    from extensions.mathml import mathml
    from sphinx.errors import ExtensionError

    found = mathml(r"\log \sigma", "inline")
    assert "<math" in found
    assert "mspace" in found
    with pytest.raises(ExtensionError, match="nosuchcommand"):
        mathml(r"\nosuchcommand{x}", "block")


def test_every_package_that_installs_has_a_page_with_its_modules():
    from extensions.reference import modules, packages

    import vje_ppl.models.priors

    assert {"vje_ppl", "vje_ppl.models", "vje_ppl.guides", "vje_ppl.data.loaders"} <= set(packages())
    assert "vje_ppl.models.priors.vamp" in modules(vje_ppl.models.priors)


class _Resources(HTMLParser):
    """Addresses that a browser loads by itself: scripts, styles, pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.math = 0

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.math += tag == "math"
        if tag in ("script", "img", "iframe", "source"):
            self.found += [given["src"]] if given.get("src") else []
        if tag == "link" and given.get("rel") in ("stylesheet", "preload", "icon", "shortcut icon"):
            self.found.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built as `make docs` builds it, from a copy of nothing but what git has and the reference that it writes."""
    out = tmp_path_factory.mktemp("site")
    command = (ROOT / "Makefile").read_text(encoding="utf-8")
    (line,) = re.findall(r"^\t\$\(BIN\)/python (-m sphinx .*)$", command, flags=re.MULTILINE)
    arguments = line.replace("build/doctrees", str(out / "doctrees")).split()[:-1]
    result = subprocess.run(
        [sys.executable, *arguments, str(out / "site")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return out / "site"


@pytest.mark.slow
def test_the_site_has_every_page_and_loads_nothing_from_elsewhere(site):
    for page in SITE:
        path = site / f"{page.stem}.html"
        parser = _Resources()
        parser.feed(path.read_text(encoding="utf-8"))
        assert parser.found
        for address in parser.found:
            assert not re.match(r"\w+:|//", address) or address.startswith("data:"), f"{page.name} loads {address}"
            assert (path.parent / address.split("?")[0]).is_file(), f"{page.name} loads {address}"
        assert (parser.math > 0) == ("$" in re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.S | re.M))
    for style in (site / "_static").rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//", style.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_reference_has_classes_and_functions_with_their_docstrings(site):
    likelihoods = unescape((site / "api/vje_ppl.models.likelihoods.html").read_text(encoding="utf-8"))
    for words in ("PolarStudentT", "degrees of freedom ν of the direction", 'site "direction"'):
        assert words in likelihoods
    assert "to_polar" in (site / "api/vje_ppl.program.html").read_text(encoding="utf-8")
