"""A page in a headless Chromium that answers messages, as `graphopt.exec.executors.node` has a process that does.

playwright starts and ends the browser; messages go over HTTP on the loopback interface, where the page asks for them
(page.mjs). Nothing else can be reached from it: no name is resolved, and the page's policy forbids other addresses.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import io
import os
import queue
import secrets
import shutil
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from graphopt.errors import MissingDependencyError, RunError
from graphopt.exec.executors import messages
from graphopt.exec.executors.loopback import Server

#: The environment variable that names the browser's program.
PROGRAM = "GRAPHOPT_CHROMIUM"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
#: Nothing is looked up, whatever asks for it.
_FLAGS = ("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",)
_POLL = 20.0  # seconds that a request for a message stays open


def chromium() -> Path | None:
    """The browser's program: the one that `PROGRAM` names, or one on the PATH."""
    if named := os.environ.get(PROGRAM):
        return Path(named) if Path(named).is_file() else None
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    return None if found is None else Path(found)


def missing() -> str | None:
    """What is missing here for running a page, and what to do; None: nothing."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed, which drives the browser: pip install 'graphopt[web]'"
    if chromium() is None:
        if named := os.environ.get(PROGRAM):
            return f"{PROGRAM} names '{named}', which is no file: it should be the program of a Chromium"
        return f"no Chromium is installed here, or none on the PATH: install one, or name its program in {PROGRAM}"
    return None


@dataclass
class _Link:
    """What the thread of the browser and that of the caller share."""

    called: str
    asked: queue.SimpleQueue[list[bytes] | None] = field(default_factory=queue.SimpleQueue)
    answers: queue.SimpleQueue[tuple[dict[str, Any], list[bytes]] | Exception] = field(
        default_factory=queue.SimpleQueue
    )
    ended: threading.Event = field(default_factory=threading.Event)
    stop: list[Any] = field(default_factory=list)  # what wakes the thread up, from when it can be woken

    def next_message(self, body: bytes) -> Iterator[bytes] | None:
        """For the page: the next message, or None after a while without one."""
        try:
            message = self.asked.get(timeout=_POLL)
        except queue.Empty:
            return None
        return None if message is None else iter(message)

    def answer(self, body: bytes) -> None:
        """From the page."""
        self.answers.put(messages.read(io.BytesIO(body).read))


class Browser:
    """A page that answers messages. It and its browser end with this object, and when this program ends.

    Args:
        module: of `files`; its default export is given the arguments and promises what answers a message.
        files: name on the server -> file, or what it holds. page.mjs and message.mjs are there already.
        arguments: for the module.
        called: what runs there, for messages.
        flags: for the browser.
        timeout: seconds for the start of the browser and for an answer; a browser that takes longer is ended.

    Raises:
        MissingDependencyError: playwright, or a browser, is not there.
    """

    def __init__(
        self,
        module: str,
        files: Mapping[str, Path | bytes],
        arguments: Mapping[str, str],
        *,
        called: str,
        flags: Sequence[str] = (),
        timeout: float = 600.0,
    ) -> None:
        if why := missing():
            raise MissingDependencyError(f"{called}: {why}")
        self.called = called
        self.timeout = timeout
        self._link = link = _Link(called)
        secret = secrets.token_urlsafe(16)  # other programs on this machine can reach the server
        calls = {f"{secret}/message": link.next_message, f"{secret}/answer": link.answer}
        own = {name: messages.JAVASCRIPT / name for name in ("page.mjs", "message.mjs")}
        query = urlencode({**arguments, "module": f"./{module}", "link": f"/{secret}/"}).replace("&", "&amp;")
        html = f'<!doctype html><meta charset="utf-8"><script type="module" src="/page.mjs?{query}"></script>'
        self._server = Server({"index.html": html.encode(), **own, **files}, calls)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        drive = threading.Thread(target=_drive, args=(link, self._server.url, [*_FLAGS, *flags]), daemon=True)
        drive.start()
        self.close = weakref.finalize(self, _end, link, drive, self._server, os.getpid())

    @property
    def alive(self) -> bool:
        """It takes messages."""
        return self.close.alive and not self._link.ended.is_set()

    def ask(self, header: Mapping[str, Any], buffers: Sequence[bytes] = ()) -> tuple[dict[str, Any], list[bytes]]:
        """See `graphopt.exec.executors.node.Node.ask`."""
        if not self.alive and self._link.answers.empty():
            raise RunError(f"{self.called} has ended; load the model again")
        self._link.asked.put(list(messages.parts(header, buffers)))
        try:
            answer = self._link.answers.get(timeout=self.timeout)
        except queue.Empty:
            self.close()
            raise RunError(f"{self.called} gave no answer within {self.timeout:g} s, and was ended") from None
        except BaseException:  # interrupted: what follows would be the answer to this
            self.close()
            raise
        if isinstance(answer, Exception):
            self.close()
            raise answer
        return answer


def _drive(link: _Link, url: str, flags: Sequence[str]) -> None:
    """Start the browser, show the page, and end it when asked to; playwright belongs to this thread."""
    try:
        asyncio.run(_page(link, url, flags))
    except Exception as e:
        link.answers.put(RunError(f"{link.called}: the browser does not start: {_first_line(e)}"))
    finally:
        link.ended.set()


async def _page(link: _Link, url: str, flags: Sequence[str]) -> None:
    from playwright.async_api import async_playwright

    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    link.stop.append(lambda: loop.call_soon_threadsafe(stop.set))

    def fail(why: str) -> None:
        if not stop.is_set():
            link.answers.put(RunError(f"{link.called} {why}"))
            link.ended.set()

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(chromium()), args=list(flags))
        try:
            page = await browser.new_page()
            page.on("crash", lambda _: fail("died: its page crashed"))
            page.on("pageerror", lambda e: fail(f"failed: {_first_line(e)}"))
            browser.on("disconnected", lambda _: fail("died: the browser is gone"))
            await page.goto(url)
            await stop.wait()
        finally:
            stop.set()
            with contextlib.suppress(Exception):  # gone already
                await browser.close()


def _end(link: _Link, drive: threading.Thread, server: Server, owner: int) -> None:
    """End the browser and the server; a fork of the program that started them leaves them alone."""
    if os.getpid() != owner:
        return
    for _ in range(100):  # a browser that is only just being started cannot be woken yet
        if link.stop or not drive.is_alive():
            break
        drive.join(0.05)
    for wake in link.stop:
        with contextlib.suppress(RuntimeError):  # its loop has ended
            wake()
    link.asked.put(None)
    drive.join(20)
    server.shutdown()
    server.server_close()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
