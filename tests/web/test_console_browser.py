"""The console in a real browser: clicked through narrow and wide, light and dark, by pointer and by keyboard.

axe-core checks each page against WCAG 2.2 AA. Where DATAFLOWS_SCREENSHOTS names a folder, pictures are left there.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from dataflows.runs.journal import Journal
from tests.web.nights import sixty_nights
from tests.web.served import TOKEN, Within, within

if TYPE_CHECKING:
    from playwright.sync_api import Browser

sync_api = pytest.importorskip("playwright.sync_api", reason="there is no Playwright: pip install -e .[dev]")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="there is no axe: pip install -e .[dev]")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH (Debian: chromium)")

QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
AXE = {(1200, "dark"), (390, "light")}
"""Between them both widths and both schemes; axe takes its time."""
FACES = [(width, scheme) for width in (1200, 390) for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Within, dict[str, str]]]:
    """A server with 60 nights behind it, and the runs of the last one."""
    folder = tmp_path_factory.mktemp("nights")
    with within(folder) as served, closing(Journal.open(served.context.settings.data_dir)) as journal:
        yield served, sixty_nights(journal, folder / "a.log")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


class Visitor:
    """Somebody before a window of one width, in one colour scheme; complaints of the browser are kept."""

    def __init__(self, browser: Browser, served: Within, width: int, scheme: Literal["light", "dark"]) -> None:
        self.context = browser.new_context(
            base_url=served.url, viewport={"width": width, "height": 900}, color_scheme=scheme, locale="en-GB"
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.name = f"{width}-{scheme}"
        self.axe = axe.Axe() if (width, scheme) in AXE else None
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        self.page.on("console", lambda one: self.complaints.append(one.text) if one.type == "error" else None)
        self.page.on("pageerror", lambda one: self.complaints.append(str(one)))
        self.page.on("request", lambda one: None if one.url.startswith(served.url) else self.strangers.append(one.url))

    def enter(self) -> None:
        """Show the token, by the keyboard alone: the field has the focus."""
        self.page.goto("/runs")
        self.look("enter")
        assert [one for one in self.complaints if "401" not in one] == []  # the page that asks is an answer of 401
        self.complaints.clear()
        self.page.keyboard.type(TOKEN)
        self.page.keyboard.press("Enter")
        self.page.get_by_role("heading", name=re.compile("^Tonight: ")).wait_for()

    def look(self, name: str) -> None:
        """Check a page as it stands: nothing to scroll sideways, and no fault that axe can find."""
        if folder := os.environ.get("DATAFLOWS_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}-{self.name}.png", full_page=True)
        wide = self.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert wide[0] <= wide[1], f"{name} is {wide[0]} px wide in {wide[1]}"
        if self.axe is None:
            return
        found = self.axe.run(self.page, options=RULES)
        assert found.response["violations"] == [], found.generate_report()

    def close(self) -> None:
        """Leave; nothing came from elsewhere and the browser had nothing to complain of."""
        self.context.close()
        assert (self.complaints, self.strangers) == ([], [])


@pytest.fixture(params=FACES, ids=lambda face: f"{face[0]}-{face[1]}")
def visitor(
    request: pytest.FixtureRequest, chromium: Browser, shown: tuple[Within, dict[str, str]]
) -> Iterator[Visitor]:
    one = Visitor(chromium, shown[0], *request.param)
    one.enter()
    yield one
    one.close()


def test_the_pages_one_by_one(visitor: Visitor, shown: tuple[Within, dict[str, str]]) -> None:
    page, runs = visitor.page, shown[1]
    visitor.look("tonight")
    page.get_by_role("link", name="patient-import").first.click()
    page.get_by_role("heading", name=re.compile("patient-import .*failed")).wait_for()
    visitor.look("run-failed")
    page.get_by_role("link", name="Tonight").click()
    page.get_by_role("link", name="csc-submit").first.click()
    page.get_by_text("40 of 100 children are Deleted").first.wait_for()
    visitor.look("run")
    page.get_by_label("Code").select_option("unreadable")
    page.get_by_label("Item or message has").fill("row 9")
    page.get_by_role("button", name="Show these").click()
    page.wait_for_url("**code=unreadable**")
    assert page.locator("tbody tr").count() == 5  # 9, 90, 93, 96, 99
    visitor.look("run-filtered")
    with page.expect_download() as download:
        page.get_by_role("link", name="These as CSV").click()
    assert download.value.suggested_filename == f"csc-submit-{runs['partial'][:8]}-failed.csv"
    assert download.value.path().read_text(encoding="utf-8-sig").count("unreadable") == 5
    page.get_by_role("link", name="The whole log").click()
    page.get_by_text("info line 59").wait_for()


def test_the_history(visitor: Visitor) -> None:
    page = visitor.page
    page.get_by_role("link", name="History").click()
    page.get_by_role("heading", name="The last 60 nights").wait_for()
    assert page.get_by_role("img", name=re.compile("items per night")).count() == 5
    visitor.look("history")
    page.get_by_role("link", name="earlier runs").click()
    page.get_by_role("link", name="later runs").wait_for()
    page.get_by_role("link", name=re.compile("^csc-submit, night to .*: partial")).first.click()
    page.get_by_role("heading", name=re.compile("Runs of csc-submit in the night to")).wait_for()
    assert page.locator("ul.runs > li").count() >= 1
    visitor.look("history-night")
    page.get_by_label("State").select_option("dry run")
    page.get_by_label("Flow").select_option("hospitals-bulk")
    page.get_by_role("textbox", name="Night to").fill("")
    page.get_by_role("button", name="Show these").click()
    page.wait_for_url("**state=dry+run**")
    assert page.locator("ul.runs > li").count() == 1
    page.get_by_role("link", name="hospitals-bulk").last.click()
    page.get_by_text("A dry run: nothing was sent or written.").wait_for()
    visitor.look("run-dry")


def test_by_the_keyboard(visitor: Visitor) -> None:
    page = visitor.page
    seen: list[str] = []
    for _ in range(6):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "[document.activeElement.textContent, getComputedStyle(document.activeElement).outlineStyle]"
        )
        assert outline == "solid", name
        seen.append(name.strip())
    assert seen[:4] == ["Tonight", "History", "API", "Sign out"]
    page.get_by_role("link", name="History").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="History").wait_for()
    page.get_by_label("Run, batch, job or error has").focus()
    page.keyboard.type("service-down")
    page.keyboard.press("Enter")
    page.wait_for_url("**text=service-down**")
    assert page.get_by_text("[service-down]").count() > 0


def test_signing_out(visitor: Visitor) -> None:
    visitor.page.get_by_role("button", name="Sign out").click()
    visitor.page.get_by_label("The token of this server (RUN_TOKEN):").wait_for()
    assert all("401" in one for one in visitor.complaints)
    visitor.complaints.clear()
