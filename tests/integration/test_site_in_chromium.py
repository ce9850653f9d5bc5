"""The documentation's site as it is built and opened: from disk, offline, in a real browser."""

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.chromium import chromium
from tests.command_lines import ROOT

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """What scripts/docs.sh builds: a link that leads nowhere would end it."""
    folder = tmp_path_factory.mktemp("site")
    words = ["build", "--quiet", "--config-file", ".mkdocs.yml", "--site-dir", str(folder)]
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser):
    """A page that must neither complain nor ask the network for anything."""
    page = browser.new_page(viewport=DESK)
    trouble, asked = [], []
    page.on("console", lambda m: trouble.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: trouble.append(str(e)))
    page.on("request", lambda r: asked.append(r.url))
    yield page
    page.close()
    assert trouble == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_every_page_opens_and_fits_a_phone(site, page):
    pages = sorted({*site.rglob("*.html")} - {site / "404.html"})  # that one is for servers
    assert len(pages) > 15
    page.set_viewport_size(PHONE)
    for path in pages:
        page.goto(f"file://{path}")
        expect(page.locator("h1").first).to_be_visible()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], path


def test_search_works_from_disk(site, page):
    page.goto(f"file://{site}/index.html")
    page.locator(".md-search__input").press_sequentially("max_staleness")
    expect(page.locator(".md-search-result__item").first).to_be_visible()
    found = page.locator(".md-search-result__item h1").all_inner_texts()
    assert "Configuration" in found
    assert "Tuning" in found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_drawing_is_whole_and_legible(site, page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.goto(f"file://{site}/concepts.html")
    drawing = page.locator("svg.actors")
    expect(drawing).to_be_visible()
    column, whole = page.locator(".drawing").bounding_box(), drawing.bounding_box()
    assert whole["width"] <= column["width"]
    ink, paper = (
        drawing.evaluate(f"(svg) => getComputedStyle(svg.querySelector('{what}')).fill")
        for what in (".name", "rect")
    )
    assert ink != paper


def test_docstrings_become_the_reference(site, page):
    page.goto(f"file://{site}/reference/configuration.html#keomni_rl.config.schema.TrainConfig")
    heading = page.locator("#keomni_rl\\.config\\.schema\\.TrainConfig\\.max_staleness")
    expect(heading).to_be_visible()
    expect(page.get_by_text("Versions a group's weights may be behind")).to_be_visible()
