"""The page as a browser shows it: nothing said on the console, nothing too wide, nothing serious found by axe-core.

`make test-report` installs what this needs and fails where no Chromium is found; elsewhere it is skipped then.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_sweep import POLICY, swept
from small_workspace import run

from fair_distill.report.sweep import sweep_page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SIZES = {"phone": 360, "desk": 1440}


def lacking(what: str) -> None:
    if os.environ.get("FAIR_DISTILL_BROWSER") == "required":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking("playwright is not installed: `make test-report` installs it")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        lacking(f"none of {', '.join(BROWSERS)} is on the PATH")
    with sync_playwright() as playwright:
        # Containers often run as root, where Chromium's sandbox does not start.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    root = Path(shutil.copytree(finished, tmp_path_factory.mktemp("browser") / "workspace"))
    for command in (["project"], ["publish"], ["report"]):
        assert run(root, *command).code == 0
    return (root / "artifacts" / "reports" / "barycentric.html").as_uri()


@pytest.fixture(scope="module")
def of_a_sweep(tmp_path_factory: pytest.TempPathFactory) -> str:
    chosen = swept()[5].name
    place = tmp_path_factory.mktemp("browser") / "sweep.html"
    place.write_bytes(sweep_page("faces", swept(), POLICY, chosen=chosen, outcome="pass"))
    return place.as_uri()


@pytest.mark.parametrize("page_of", ["address", "of_a_sweep"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_is_shown_without_a_fault(
    browser: Any, page_of: str, size: str, scheme: str, request: pytest.FixtureRequest
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = browser.new_page(viewport={"width": SIZES[size], "height": 900}, color_scheme=scheme, bypass_csp=True)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(request.getfixturevalue(page_of))
    for summary in page.locator("summary").all():  # what is folded away is part of it
        summary.click()

    wide = page.evaluate("document.documentElement.scrollWidth")
    found = Axe().run(page).response["violations"]
    page.close()

    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    assert wide <= SIZES[size]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")] == []


def test_what_is_folded_away_is_printed(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    table = page.locator("details table").first

    assert not table.is_visible()
    page.emulate_media(media="print")
    assert table.bounding_box()["height"] > 100
    page.close()


def test_the_keyboard_reaches_every_link_fold_and_scrolled_table(browser: Any, address: str) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 900})
    page.goto(address)
    wanted = page.locator("a[href], summary, .wide:visible, pre").count()

    reached = set()
    for _ in range(wanted + 20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    page.close()

    assert len(reached) >= wanted
