"""A real browser: Debian's Chromium, driven by Playwright, and axe-core to judge what it shows."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None,
    reason="left out without a browser: `make chromium` installs it as root, else install Debian's package chromium",
)

DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
SCREENSHOTS = Path("var", "screenshots")


@asynccontextmanager
async def running_chromium() -> AsyncIterator[Browser]:
    """Chromium without a window."""
    async with async_playwright() as playwright:
        # Its sandbox does not run as root, and it shows our own pages alone.
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@asynccontextmanager
async def reader(browser: Browser, viewport: ViewportSize, *, scripts: bool = False) -> AsyncIterator[Page]:
    """A person with a fresh profile; without scripts, unless axe has to run among them."""
    context = await browser.new_context(
        viewport=viewport, java_script_enabled=scripts, bypass_csp=scripts, reduced_motion="reduce"
    )
    try:
        yield await context.new_page()
    finally:
        await context.close()


async def keep(page: Page, name: str) -> None:
    """Keep what the page looks like."""

    await page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


async def barriers(page: Page) -> list[str]:
    """What of the page shuts somebody out, by axe's rules (WCAG 2.2 AA and best practice)."""
    found = await Axe().run(page)
    return [
        f"{violation['id']}: {[node['html'] for node in violation['nodes']]}"
        for violation in found.response["violations"]
    ]
