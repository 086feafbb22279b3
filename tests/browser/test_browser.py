"""The report's page in a real browser: what a reader does with it."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from made_records import record
from PIL import Image

from bench.records.storage import write_record
from reports import write_report

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python: tox -e browser")


def column(page, number):
    """Return the texts of the visible cells of a column of Table 2."""
    rows = page.locator("#table2 tbody tr:visible")
    return [rows.nth(place).locator("th, td").nth(number).inner_text() for place in range(rows.count())]


def numbers(texts):
    """Return the numbers that texts begin with, of those that do."""
    return [float(text.split()[0]) for text in texts if text[:1].isdigit()]


def head(page, text):
    return page.locator("#table2 thead th").filter(has_text=text).first


def wide(page):
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


# ---- opening ----


def test_it_opens_from_disk_without_a_request_or_an_error(opened):
    one = opened()
    one.page.wait_for_load_state("networkidle")
    assert one.said == []
    folder = one.path.parent
    files = [Path(unquote(urlparse(url).path)) for url in one.requests if not url.startswith(("data:", "blob:"))]
    assert files[0] == one.path
    assert all(file.is_relative_to(folder) and file.is_file() for file in files)
    assert {urlparse(url).scheme for url in one.requests} <= {"file", "data", "blob"}


def test_a_page_of_one_cell_has_nothing_to_filter_and_works_all_the_same(browser, tmp_path):
    write_record(tmp_path / "records", record("dm", dataset="digits"))
    context = browser.new_context()
    page, said = context.new_page(), []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(write_report(tmp_path, formats=["html"]).as_uri())
    page.locator("#theme").click()  # the scripts have come to their end
    assert page.locator("#filters").count() == 0
    page.locator(".card summary").first.click()
    assert page.locator(".card .copy").first.is_visible()
    assert said == []
    context.close()


def test_a_number_of_table_2_leads_to_its_card(opened):
    page = opened().page
    link = page.locator("#table2 td a.to-card").first
    name = link.get_attribute("href").removeprefix("#")
    link.click()
    page.wait_for_function("name => document.getElementById(name).open", arg=name)


def test_every_link_leads_somewhere(opened, report):
    page = opened().page
    links = page.eval_on_selector_all("a[href]", "links => links.map(link => [link.getAttribute('href'), link.href])")
    assert len(links) > 50
    for text, url in links:
        if text.startswith("#"):
            assert page.evaluate("name => document.getElementById(name) !== null", unquote(text[1:])), text
        else:
            assert Path(unquote(urlparse(url).path)).is_file(), text


def test_names_are_texts_and_never_markup(opened):
    page = opened().page
    assert page.locator("main i, .classes b, .left-out script").count() == 0
    assert "<i>own</i>" in page.locator("#table2 tbody").inner_text()
    assert "<b>bold</b>" in page.locator(".classes").first.inner_text()
    assert "failed: fashionmnist ipc 1 sinkhorn seed 0" in page.locator("#not-shown").inner_text()
    assert "<script>alert(1)</script>" in page.locator("#not-shown").inner_text()


# ---- tables ----


def test_a_column_is_sorted_up_down_and_back_by_the_keyboard(opened):
    page = opened().page
    number = page.locator("#table2 thead th").all_inner_texts().index(head(page, "DM").inner_text())
    before = column(page, number)
    values = numbers(before)
    assert len(set(values)) > 1
    head(page, "DM").locator("button").focus()
    page.keyboard.press("Enter")
    assert head(page, "DM").get_attribute("aria-sort") == "ascending"
    assert numbers(column(page, number)) == sorted(values)
    page.keyboard.press("Space")
    assert head(page, "DM").get_attribute("aria-sort") == "descending"
    assert numbers(column(page, number)) == sorted(values, reverse=True)
    page.keyboard.press("Enter")
    assert head(page, "DM").get_attribute("aria-sort") is None
    assert column(page, number) == before


def test_numbers_are_sorted_as_numbers_and_what_was_not_run_stands_last(opened):
    page = opened().page
    head(page, "IPC").locator("button").click()
    head(page, "IPC").locator("button").click()
    assert column(page, 1) == sorted(column(page, 1), key=int, reverse=True)
    number = page.locator("#table2 thead th").all_inner_texts().index(head(page, "Random").inner_text())
    for _ in range(2):
        head(page, "Random").locator("button").click()
        missing = [text == "" or text.startswith("–") for text in column(page, number)]
        assert any(missing)
        assert missing == sorted(missing)


def test_filters_hide_rows_columns_cards_and_images(opened):
    page = opened().page
    page.select_option("#filters [name=dataset]", "fashionmnist")
    page.select_option("#filters [name=ipc]", "10")
    page.select_option("#filters [name=method]", "kr")
    assert set(column(page, 1)) == {"10"}
    heads = page.locator("#table2 thead th:visible").all_inner_texts()
    assert {text.split()[0] for text in heads[2:]} == {"KR"}
    assert page.locator(".card:visible").count() == 2
    assert page.locator("#filters output").inner_text() == "2 of 20 cells"
    assert page.locator(".deck:visible").count() == page.locator(".gallery:visible").count() == 1
    assert page.locator(".sheet[data-method]:visible").count() == 1
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("document.querySelectorAll('.card:not([hidden])').length === 20")
    assert page.locator("#filters output").inner_text() == ""


def test_a_variant_can_be_chosen_and_so_can_cells_without_one(opened):
    page = opened().page
    page.select_option("#filters [name=variant]", "kr.hidden=3")
    assert page.locator(".card:visible").count() == 2
    page.select_option("#filters [name=variant]", "")
    assert page.locator(".card:visible").count() == 18


# ---- figures and images ----


def test_charts_follow_what_is_chosen(opened):
    page = opened().page
    assert page.locator(".chart").count() == 3
    chart = page.locator(".chart").filter(has_text="Accuracy against seconds")
    assert chart.locator("svg").first.text_content().count("KR") >= 2  # the label of its point, and the legend
    chart.locator("select").select_option("<i>own</i>, IPC 1")
    page.wait_for_function(
        "e => !e.querySelector('.mark-text.role-mark')?.textContent.includes('KR')", arg=chart.element_handle()
    )
    curve = page.locator(".chart").filter(has_text="Test accuracy at checkpoints")
    ticks = "e => e.querySelector('.role-axis-label').textContent"
    iterations = curve.evaluate(ticks)
    curve.get_by_role("radio", name="seconds").check()
    page.wait_for_function(f"([e, text]) => ({ticks})(e) !== text", arg=[curve.element_handle(), iterations])


def test_an_image_opens_and_a_class_is_shown_under_every_method(opened):
    page = opened().page
    gallery = page.locator(".gallery[data-dataset=fashionmnist][data-ipc='1']")
    titles = gallery.locator(".sheet h4").all_inner_texts()
    assert titles[0].startswith("Start of DM, ")
    assert gallery.locator(".sheet img").first.evaluate("image => image.naturalWidth") == 10
    gallery.locator(".sheet > button").nth(1).focus()
    page.keyboard.press("Enter")
    viewer = page.locator("#viewer")
    assert viewer.locator("figcaption").all_inner_texts() == [titles[1]]
    small = viewer.locator("img").bounding_box()["width"]
    viewer.locator("[name=zoom]").focus()
    page.keyboard.press("End")
    assert viewer.locator("img").bounding_box()["width"] == 12 * 10 >= small
    page.keyboard.press("Escape")
    assert not viewer.is_visible()
    gallery.locator(".classes button").nth(3).click()
    assert viewer.locator("figcaption").all_inner_texts() == titles
    boxes = [viewer.locator(".window").nth(place).bounding_box() for place in range(len(titles))]
    zoom = int(viewer.locator("[name=zoom]").input_value())
    assert {box["height"] for box in boxes} == {10 * zoom}  # a row of 8 pixels, and a line on both sides
    assert viewer.locator(".window img").first.evaluate("image => image.style.marginTop") == f"{-3 * 9 * zoom}px"
    viewer.get_by_role("button", name="Close").click()
    assert not viewer.is_visible()


def test_class_names_stand_beside_their_rows(opened):
    gallery = opened().page.locator(".gallery").first
    image = gallery.locator(".sheet img").first.bounding_box()
    for row in (0, 3, 9):
        name = gallery.locator(".classes button").nth(row).bounding_box()
        middle = image["y"] + (row + 0.5) * image["height"] / 10
        assert abs(name["y"] + name["height"] / 2 - middle) < 3


# ---- cards, theme, paper ----


@pytest.mark.parametrize("allowed", [True, False])
def test_a_command_is_copied(opened, allowed):
    one = opened(permissions=["clipboard-read", "clipboard-write"] if allowed else [])
    if not allowed:
        one.page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        one.page.evaluate("document.addEventListener('copy', () => { window.copied = String(document.activeElement.value) })")
    card = one.page.locator(".card").first
    card.locator("summary").click()
    card.get_by_role("button", name="Copy").click()
    card.get_by_text("Copied").wait_for()
    command = card.locator(".command code").inner_text()
    assert command.startswith("python run_all.py --methods ")
    assert one.page.evaluate("navigator.clipboard.readText()" if allowed else "window.copied") == command
    assert one.said == []


def test_a_link_to_a_card_opens_it(opened):
    page = opened().page
    name = page.locator(".card").last.get_attribute("id")
    page.evaluate("name => { location.hash = name }", name)
    page.wait_for_function("name => document.getElementById(name).open", arg=name)


def test_the_theme_is_the_systems_until_it_is_switched_and_then_remembered(opened):
    page = opened(theme="dark").page
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    assert page.locator("#theme").get_attribute("aria-pressed") == "true"
    page.locator("#theme").click()
    light = page.evaluate(ground)
    assert (light, light != dark) == ("rgb(255, 255, 255)", True)
    label = page.locator(".chart .role-axis-label text").first
    page.wait_for_function("e => getComputedStyle(e).fill === 'rgb(28, 30, 33)'", arg=label.element_handle())
    page.reload()
    assert page.evaluate(ground) == light
    assert page.locator("#theme").get_attribute("aria-pressed") == "false"


def test_on_paper_everything_is_open_and_there_are_no_controls(opened):
    page = opened(theme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert page.locator("#filters, #theme, nav, .copy, .chart").locator("visible=true").count() == 0
    assert page.locator("figure[id^=figure-pareto] img").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() > 10


# ---- everybody can read it ----


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_has_no_serious_finding(opened, theme, width):
    page = opened(theme=theme, width=width).page
    page.eval_on_selector_all("details", "boxes => boxes.forEach(box => { box.open = true })")
    assert serious(page) == []
    page.locator(".sheet > button").first.click()
    assert serious(page) == []


def serious(page):
    violations = axe.Axe().run(page).response["violations"]
    return [
        (one["id"], node["target"]) for one in violations if one["impact"] in ("serious", "critical") for node in one["nodes"]
    ]


def test_axe_sees_what_is_wrong(opened):
    page = opened().page
    page.evaluate("document.querySelector('.sheet img').removeAttribute('alt')")
    assert {name for name, _ in serious(page)} & {"image-alt", "button-name"}


def test_the_keyboard_skips_to_the_report(opened):
    page = opened().page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_headings_are_in_order(opened):
    levels = opened().page.eval_on_selector_all("h1, h2, h3, h4", "heads => heads.map(head => Number(head.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("name", "width", "height"), [("phone", 390, 844), ("desktop", 1280, 900)])
def test_it_fits_on_the_screen_and_is_photographed(opened, tmp_path, theme, name, width, height):
    page = opened(theme=theme, width=width, height=height).page
    assert not wide(page)
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}-{theme}.png", full_page=True)
    with Image.open(folder / f"{name}-{theme}.png") as picture:
        assert picture.width == width
        assert picture.height > 3 * height
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 100
    page.eval_on_selector_all("details", "boxes => boxes.forEach(box => { box.open = true })")
    assert not wide(page)
