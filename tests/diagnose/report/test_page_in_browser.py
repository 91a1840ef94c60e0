"""The page as a browser sees it: Chromium, without a window, from a file."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.helpers.sample_sections import FACTS, sections
from vje_ppl.diagnose.report.page import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER),
    reason="no Chromium with its chromedriver on this machine, so the page was not opened in a browser",
)

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
)

#: Of every element with text of its own: the least contrast of ink on paper, by WCAG 2's formula.
CONTRAST = """
const parse = colour => colour.match(/[\\d.]+/g).map(Number);
const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => [r, g, b].map(v => linear(v / 255))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = one => { for (; one; one = one.parentElement) {
  const paper = parse(getComputedStyle(one).backgroundColor); if (paper.length < 4 || paper[3] > 0) return paper; }
  return [255, 255, 255]; };
const found = [...document.querySelectorAll('body *')]
  .filter(one => [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
  .map(one => { const [a, b] = [light(parse(getComputedStyle(one).color)), light(behind(one))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), one.tagName + '.' + one.className]; });
return found.sort((x, y) => x[0] - y[0])[0];
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, FACTS, sections())
    return path


def opened(browser, path, width=1280, height=900, scheme="light"):
    """Opens a file; returns what was logged as an error, what was asked of the network, and which pictures failed."""
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # of the page before
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(path.as_uri())
    browser.execute_script("return Promise.all([...document.images].map(one => one.decode().catch(() => null)))")
    errors = [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    widths = browser.execute_script("return [...document.images].map(one => one.naturalWidth)")
    return errors, [url for url in asked if not url.startswith("data:")], widths


def test_report_opens_from_a_file_with_all_its_pictures_and_no_network(browser, path):
    errors, asked, widths = opened(browser, path)

    assert errors == []
    assert asked == [path.as_uri()]
    assert widths == [480, 480, 1152, 1152, 1152]  # of two sections, and six inches at 192 dots
    assert browser.title == "digits-1a2b3c4d: diagnosis"
    assert browser.execute_script("return getComputedStyle(document.querySelector('.chip')).borderRadius") == "99px"


def test_the_browser_would_notice_a_page_that_is_not_self_contained(browser, path, tmp_path):
    broken = tmp_path / "broken.html"
    text = path.read_text(encoding="utf-8")
    start = text.index("<meta http-equiv")
    text = text[:start] + text[text.index("\n", start) :]  # without the policy, which forbids what follows
    broken.write_text(text.replace("data:image/png;base64,", "http://127.0.0.1:9/a.png?", 1), encoding="utf-8")

    errors, asked, widths = opened(browser, broken)

    assert errors
    assert len(asked) == 2
    assert asked[1].startswith("http://127.0.0.1:9/")
    assert widths[0] == 0


@pytest.mark.parametrize("width", [320, 400, 768, 1280, 1920], ids=lambda width: f"{width} pixels")
def test_report_fits_into_narrow_and_wide_windows(browser, path, width):
    opened(browser, path, width)

    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(f"return {overflow}") == 0
    widest = "Math.max(...[...document.querySelectorAll('.plate')].map(one => one.getBoundingClientRect().right))"
    assert browser.execute_script(f"return {widest}") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_can_be_read_in_light_and_dark(browser, path, scheme):
    opened(browser, path, scheme=scheme)
    browser.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")

    contrast, where = browser.execute_script(CONTRAST)

    assert contrast >= 4.5, where  # WCAG 2, level AA
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper.strip("rgb()").split(","))) < 3 * 128) is (scheme == "dark")


def test_report_has_headings_in_order_and_a_name_for_every_region(browser, path):
    opened(browser, path)

    levels = browser.execute_script("return [...document.querySelectorAll('h1, h2, h3')].map(one => one.tagName)")
    assert levels == ["H1", "H2", "H2", "H2", "H2"]
    unnamed = browser.execute_script(
        "return [...document.querySelectorAll('section, nav, [role=region]')].filter(one =>"
        " !one.ariaLabel && !document.getElementById(one.getAttribute('aria-labelledby'))).length"
    )
    assert unnamed == 0
    assert browser.execute_script("return document.documentElement.lang") == "en"
    broken = browser.execute_script(
        "return [...document.querySelectorAll('a')].map(one => one.hash.slice(1))"
        ".filter(id => !document.getElementById(id))"
    )
    assert broken == []


def test_report_hides_its_numbers_until_they_are_asked_for(browser, path):
    opened(browser, path)

    table = browser.find_element("css selector", "table")
    assert not table.is_displayed()
    browser.find_element("css selector", "summary").click()
    assert table.is_displayed()


def test_report_prints(browser, path):
    import base64

    opened(browser, path)

    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Subtype /Image") >= 3
