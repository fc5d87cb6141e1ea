"""The page `/usage` of a running service in a real browser: reachable, readable, and without a fault for axe-core."""

import asyncio
import re
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from support.browser import Page, chromium, tab
from support.service_process import run_to_end, running

pytestmark = pytest.mark.ledger
HEADERS = {"anthropic-version": "2023-06-01", "x-tidegate-session": "a-session"}
BODY = {"model": "claude-haiku-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
NARROW, WIDE = 360, 1_200
VIEWS = ((NARROW, False), (NARROW, True), (WIDE, False), (WIDE, True))
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
FOCUS = """(() => {
  const focused = document.activeElement, style = getComputedStyle(focused);
  return [focused.textContent, style.outlineStyle, parseFloat(style.outlineWidth)];
})()"""


def test_a_viewer_reads_the_page_and_nobody_else_sees_it(tmp_path: Path) -> None:
    state_dir = str(tmp_path / "state")
    (tmp_path / "state").mkdir()

    def key_of(*arguments: str) -> str:
        done = run_to_end(tmp_path, "keys", "create", *arguments, TIDEGATE_STATE_DIR=state_dir)
        (key,) = re.findall(r"^key +(\S+)$", done.stdout, re.MULTILINE)
        return str(key)

    manager, caller = key_of("manager", "--role", "viewer"), key_of("web", "--team", "shop")
    with (
        running(tmp_path, "serve", "--upstream", "simulator", TIDEGATE_STATE_DIR=state_dir) as service,
        chromium(tmp_path) as browser,
    ):
        page_url = f"{service.url}/usage"

        async def look() -> None:
            async with tab(browser, manager) as page:
                # Before there is usage, and where the address is wrong.
                for query in ("", "?since=soon"):
                    await page.open(page_url + query)
                    assert await page.accessibility_faults() == []
                page.problems.clear()
                for model in ("claude-haiku-5-5", "claude-sonnet-5-5"):
                    headers = {**HEADERS, "x-api-key": caller}
                    body = {**BODY, "model": model}
                    answer = httpx2.post(f"{service.url}/v1/messages", json=body, headers=headers)
                    assert answer.status_code == 200
                await _until_written(page, page_url)
                for width, dark in VIEWS:
                    await page.open(f"{page_url}?since=24h", width=width, dark=dark)
                    assert await page.accessibility_faults() == [], (width, dark)
                    assert await page.evaluate(FITS), f"scrolls sideways at {width} px"
                await _choose(page)
                assert page.problems == []
                assert {urlsplit(url).netloc for url in page.requests} == {urlsplit(service.url).netloc}
                assert {urlsplit(url).path for url in page.requests} <= {"/usage", "/usage/style.css", "/favicon.ico"}
                style = await page.evaluate("getComputedStyle(document.body).backgroundColor")
                assert style not in {"rgba(0, 0, 0, 0)", "rgb(255, 255, 255)"}, "the style is in effect"

        async def without_key() -> None:
            async with tab(browser) as page:
                await page.open(page_url)
                text = await page.evaluate("document.body.innerText")
                assert "A key is needed" in text
                assert "shop" not in text

        asyncio.run(look())
        asyncio.run(without_key())


async def _until_written(page: Page, url: str) -> None:
    """Waits until the page shows both calls."""
    async with asyncio.timeout(20):
        while True:
            await page.open(url)
            text = await page.evaluate("document.body.innerText")
            if "claude-sonnet-5-5" in text and "a-session" in text:
                return
            await asyncio.sleep(0.2)


async def _choose(page: Page) -> None:
    """Uses the page by keyboard and by its form."""
    key = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
    for kind in ("keyDown", "keyUp"):
        await page.send("Input.dispatchKeyEvent", type=kind, **key)
    text, outline, width = await page.evaluate(FOCUS)
    assert (text, outline) == ("24 hours", "solid")
    assert width >= 2
    await page.evaluate("document.querySelector('select[name=model]').value = 'claude-haiku-5-5'; 0")
    await page.loading("Runtime.evaluate", expression="document.querySelector('button').click()")
    assert await page.evaluate("location.search") == "?since=24h&team=&caller=&model=claude-haiku-5-5"
    rows = await page.evaluate("[...document.querySelectorAll('#by-model-caption ~ tbody th')].map(e => e.textContent)")
    assert rows == ["claude-haiku-5-5"]
