"""The pages of reports in a real browser, opened as files."""

import csv
import time

import pytest

from dst_jax import report
from dst_jax.report.load import load
from dst_jax.report.looks import GLYPHS, looks
from dst_jax.report.tables import main_results
from dst_jax.report.tables.table import csv_text
from tests.report.chromium import NAMES, chromium, executable

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MAIN = "document.querySelector('table')"


@pytest.fixture(scope="module")
def browser():
    program = executable()
    if program is None:
        pytest.skip(
            f"none of {', '.join(NAMES)} is installed, and $CHROMIUM names none"
        )
    with chromium(program) as found:
        yield found


def column(browser, number, table=MAIN):
    """The texts of a column, totals included."""
    rows = f"[...{table}.querySelectorAll('tbody tr, tfoot tr')]"
    return browser.evaluate(f"{rows}.map(row => row.cells[{number}].innerText.trim())")


def heading(number, table=MAIN):
    return f"{table}.tHead.rows[0].cells[{number}].querySelector('button')"


@pytest.mark.parametrize("which", [0, 1], ids=["run", "comparison"])
@pytest.mark.parametrize("width", [1100, 390])
def test_a_page_opens_without_a_complaint_and_shows_its_figures(
    browser, pages, which, width
):
    browser.open(pages[which], width=width)
    figures = browser.evaluate(
        "[...document.images].map(image => [image.complete && image.naturalWidth,"
        " image.getBoundingClientRect().width, image.checkVisibility()])"
    )
    assert len(figures) >= 2
    for natural, shown, visible in figures:
        assert natural > 1000
        assert shown > 0.3 * natural  # PNGs have two pixels for each of the screen's
        assert visible
    assert browser.complaints == []
    own = [url for url in browser.requests if not url.startswith("data:image/png")]
    assert own == [pages[which].as_uri()]


def test_a_page_needs_no_more_than_the_width_of_a_telephone(browser, pages):
    for page in pages:
        browser.open(page, width=390)
        assert browser.evaluate("document.documentElement.scrollWidth") == 390
        # Of a wide table the first column stays in view.
        name = f"{MAIN}.tBodies[0].rows[0].cells[0].getBoundingClientRect().left"
        before = browser.evaluate(name)
        browser.evaluate(f"{MAIN}.parentElement.scrollBy(150, 0)")
        assert browser.evaluate(f"{MAIN}.parentElement.scrollLeft") == 150
        assert browser.evaluate(name) == before
        size = browser.evaluate(f"getComputedStyle({MAIN}).fontSize")
        assert float(size.removesuffix("px")) >= 12


def test_a_click_on_a_heading_sorts_up_then_down_then_back(browser, pages):
    browser.open(pages[0])
    original = column(browser, 0)
    assert column(browser, 1) == ["90.00", "91.00", "88.00", "90.50"]
    browser.click(heading(1))
    assert column(browser, 1) == ["88.00", "90.00", "90.50", "91.00"]
    assert column(browser, 0)[0] == "pruned"
    assert browser.evaluate(f"{heading(1)}.parentElement.ariaSort") == "ascending"
    browser.click(heading(1))
    assert column(browser, 1) == ["91.00", "90.50", "90.00", "88.00"]
    browser.click(heading(1))
    assert column(browser, 0) == original
    assert not browser.evaluate(f"{heading(1)}.parentElement.hasAttribute('aria-sort')")


def test_what_has_no_value_is_last_in_both_directions(browser, pages):
    browser.open(pages[0])
    browser.click(heading(2))
    assert column(browser, 2) == ["-2.00", "+0.50", "+1.00", "-"]
    browser.click(heading(2))
    assert column(browser, 2) == ["+1.00", "+0.50", "-2.00", "-"]


def test_headings_are_reached_and_pressed_with_the_keyboard(browser, pages):
    browser.open(pages[0])
    browser.evaluate(f"{MAIN}.parentElement.focus()")
    browser.press("Tab", 9)
    assert browser.evaluate(f"document.activeElement === {heading(0)}")
    browser.press("Enter", 13, "\r")
    assert column(browser, 0) == [
        *("dense baseline", "dense control", "dual sparse", "pruned"),
    ]


def test_totals_stay_below_and_time_spans_are_sorted_as_times(browser, pages):
    browser.open(pages[0])
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    table = "[...document.querySelectorAll('table')].find(t => t.tFoot)"
    browser.click(heading(1, table))
    assert column(browser, 0, table) == ["fc", "conv1", "all layers"]
    table = "[...document.querySelectorAll('table')].at(-1)"
    for i, span in enumerate(("2 h 01 min", "12.3 s", "2 min 30 s", "59.9 s")):
        browser.evaluate(f"{table}.tBodies[0].rows[{i}].cells[1].innerText = '{span}'")
    browser.click(heading(1, table))
    times = ["12.3 s", "59.9 s", "2 min 30 s", "2 h 01 min"]
    assert column(browser, 1, table) == times


def test_a_sorted_comparison_still_says_which_run_a_row_is_of(browser, pages):
    browser.open(pages[1])
    browser.click(heading(2))
    assert column(browser, 0) == ["a", "b", "a", "a", "a", "b", "b", "b"]


def test_a_table_is_saved_from_a_file(browser, pages, tmp_path):
    browser.open(pages[0])
    browser.call(
        "Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path)
    )
    browser.click("document.querySelector('button.save')")
    file = tmp_path / "accuracy-sparsity-multiplications.csv"
    end = time.monotonic() + 20
    while not file.exists() and time.monotonic() < end:
        time.sleep(0.05)
    table = main_results.stages(load(pages[0].parent))
    assert file.read_bytes().decode() == csv_text(table)
    with file.open(newline="") as lines:
        assert [row["top-1 %"] for row in csv.DictReader(lines)][-1] == "90.50"
    assert browser.complaints == []


def test_a_stage_has_one_colour_and_marker_in_all_tables(browser, pages):
    for page in pages:
        browser.open(page)
        found = browser.evaluate(
            "[...document.querySelectorAll('.named')].map(cell => {"
            " const mark = getComputedStyle(cell, '::before');"
            " return [cell.textContent.replace(/ %$/, ''), mark.color, mark.content];"
            "})"
        )
        shown = dict.fromkeys(map(tuple, found))
        assert len(shown) == len({name for name, *_ in shown}) == 4
        for name, colour, content in shown:
            look = looks([name])[name]
            rgb = [str(int(look.colour[i : i + 2], 16)) for i in (1, 3, 5)]
            assert colour == f"rgb({', '.join(rgb)})"
            assert GLYPHS[look.marker] in content


def test_a_printed_page_has_all_of_its_tables_and_no_buttons(browser, pages):
    browser.open(pages[0], width=700, media="print")  # as wide as A4 between margins
    hidden = browser.evaluate(
        "[...document.querySelectorAll('table')].filter(t => t.offsetHeight < 20)"
        ".length"
    )
    assert hidden == 0
    widest = browser.evaluate(
        "Math.max(...[...document.querySelectorAll('table')].map(t => t.offsetWidth))"
    )
    assert widest <= 700
    assert not browser.evaluate(
        "[...document.querySelectorAll('.save')].some(b => b.checkVisibility())"
    )
    ink = browser.evaluate("getComputedStyle(document.body).color")
    assert ink == "rgb(0, 0, 0)"
    assert browser.call("Page.printToPDF")["data"].startswith("JVBERi0")  # "%PDF-"


def test_no_value_of_a_run_is_run(browser, make_run):
    evil = "\"'><script>document.title = 'run'</script><img src=x onerror=\"x()\">"
    page = report.write(make_run("<b>bold", config={evil: evil}))
    browser.open(page)
    assert browser.evaluate("document.title") == "<b>bold"
    assert browser.complaints == []
