"""A real Chromium without a window, driven over its DevTools protocol, and axe-core in its pages."""

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import aiohttp

from support.project import ROOT

_AXE: Final = ROOT / "tests/node/node_modules/axe-core/axe.min.js"
_READY_SECONDS: Final = 60
_ANSWER_SECONDS: Final = 60
_ARGUMENTS: Final = (
    *("--headless=new", "--disable-gpu", "--no-first-run", "--no-default-browser-check", "--remote-debugging-port=0"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)


@dataclass
class Page:
    """A tab.

    Attributes:
        requests: the URLs that it has asked for.
        problems: what its console says of errors, and of violations of the content security policy.
        password: given where a server asks for one; None: the dialog is cancelled.
    """

    _connection: aiohttp.ClientWebSocketResponse
    _session: str = ""
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    password: str | None = None
    _answers: dict[int, "asyncio.Future[Any]"] = field(default_factory=dict)
    _loaded: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    async def open(self, url: str, *, width: int = 1_200, dark: bool = False) -> None:
        """Shows an address in a window of this width."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        await self.send("Emulation.setDeviceMetricsOverride", **size)
        await self.send("Emulation.setEmulatedMedia", features=[scheme])
        await self.loading("Page.navigate", url=url)

    async def loading(self, method: str, **parameters: Any) -> None:
        """Sends a command that loads another page, and waits for it."""
        self._loaded.clear()
        await self.send(method, **parameters)
        await asyncio.wait_for(self._loaded.wait(), _ANSWER_SECONDS)

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of its promise."""
        answer = await self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def accessibility_faults(self) -> list[str]:
        """What axe-core finds: the rule, and the first elements that break it."""
        await self.evaluate(_AXE.read_text() + ";0")
        found = await self.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert found["passes"], "axe-core has checked nothing"
        return [f"{each['id']}: {[node['html'][:200] for node in each['nodes'][:3]]}" for each in found["violations"]]

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._command(number, method, parameters)
        result: dict[str, Any] = await asyncio.wait_for(answer, _ANSWER_SECONDS)
        return result

    async def listen(self) -> None:
        """Reads what the browser says, until the connection ends."""
        async for message in self._connection:
            said = json.loads(message.data)
            if "id" in said:
                answer = self._answers.pop(said["id"], None)
                if answer is not None and not answer.done():
                    answer.set_result(said.get("result", {"exceptionDetails": said.get("error")}))
                continue
            await self._hear(said["method"], said["params"])

    async def _hear(self, event: str, values: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded.set()
        elif event == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.problems.append(values["entry"]["text"])
        elif event == "Fetch.requestPaused":
            self.requests.append(values["request"]["url"])
            await self._command(next(self._numbers), "Fetch.continueRequest", {"requestId": values["requestId"]})
        elif event == "Fetch.authRequired":
            given = {"response": "CancelAuth"}
            if self.password is not None:
                given = {"response": "ProvideCredentials", "username": "anyone", "password": self.password}
            parameters = {"requestId": values["requestId"], "authChallengeResponse": given}
            await self._command(next(self._numbers), "Fetch.continueWithAuth", parameters)

    async def _command(self, number: int, method: str, parameters: dict[str, Any]) -> None:
        session = {"sessionId": self._session} if self._session else {}
        await self._connection.send_json({"id": number, "method": method, "params": parameters, **session})


@contextmanager
def chromium(folder: Path) -> Iterator[str]:
    """Runs a browser with an empty profile in a folder, and yields the URL of its protocol."""
    program = shutil.which("chromium")
    assert program, "tests/install-tools.sh test-ledger installs chromium"
    # As root, Chromium refuses to run in its sandbox.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    profile = folder / "profile"
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *_ARGUMENTS, *sandbox, f"--user-data-dir={profile}", "about:blank"], stdout=log, stderr=log
        )
    try:
        yield _address(profile / "DevToolsActivePort")
    finally:
        process.terminate()
        process.wait()


@asynccontextmanager
async def tab(url: str, password: str | None = None) -> AsyncIterator[Page]:
    """A tab of a browser. A password is given where a server asks for one."""
    async with aiohttp.ClientSession() as client, client.ws_connect(url, max_msg_size=0) as connection:
        page = Page(connection, password=password)
        listening = asyncio.create_task(page.listen())
        try:
            context = await page.send("Target.createBrowserContext")  # without the passwords of other tabs
            target = await page.send("Target.createTarget", url="about:blank", **context)
            attached = await page.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            page._session = attached["sessionId"]  # made here
            for domain in ("Page", "Log", "Runtime"):
                await page.send(f"{domain}.enable")
            await page.send("Fetch.enable", handleAuthRequests=True)
            yield page
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening


def _address(file: Path) -> str:
    """The URL of the protocol, which the browser writes when it is ready."""
    deadline = time.monotonic() + _READY_SECONDS
    while not file.exists() or "\n" not in file.read_text():
        assert time.monotonic() < deadline, "chromium does not start"
        time.sleep(0.05)
    port, path = file.read_text().split("\n")[:2]
    return f"ws://127.0.0.1:{port}{path}"
