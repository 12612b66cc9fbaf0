"""A real browser on a running Airflow."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.scheduling import Platform, running_platform

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="package")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    settings = {"core": {"test_connection": "Enabled"}}
    with running_platform(tmp_path_factory.mktemp("ui"), settings=settings) as running:
        yield running


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    found = [path for path in (os.environ.get("CHROMIUM"), *map(shutil.which, NAMES)) if path]
    if not found:
        pytest.fail(
            "No Chromium on this machine. On Debian: apt-get install chromium. Or say where it is: CHROMIUM=path"
        )
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found[0], args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser, platform: Platform) -> Iterator[Page]:
    """A page of a browser that nobody has used, logged in through the form."""
    context = browser.new_context(base_url=platform.airflow.url, viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.goto("/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(platform.airflow.password)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Stats").wait_for()
    yield page
    context.close()
