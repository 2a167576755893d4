"""An HTTP server on the loopback interface: the files that a page is made of, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: By the end of a file's name. Browsers run modules and stream WebAssembly under these types only.
TYPES = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript", ".mjs": "text/javascript",
    ".json": "application/json", ".wasm": "application/wasm", "": "application/octet-stream",
}  # fmt: skip
#: With every answer: what the page may load (from here alone), and what lets WebAssembly have threads.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self' blob: 'wasm-unsafe-eval'; style-src 'self'; "
    "worker-src 'self' blob:; connect-src 'self' blob:; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
#: What answers a request that no file answers: from the body to the parts of the answer; None where there is none yet.
Call = Callable[[bytes], "Iterator[bytes] | None"]


class Server(ThreadingHTTPServer):
    """Serves files by their names until `shutdown`. `serve_forever` is the caller's to call.

    Args:
        files: name in the address, without the first slash -> file, or what it holds.
        calls: name in the address -> what answers it.
        port: 0: one that is free.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True

    def __init__(
        self, files: Mapping[str, Path | bytes], calls: Mapping[str, Call] | None = None, *, port: int = 0
    ) -> None:
        self.files = files
        self.calls = calls or {}
        super().__init__(("127.0.0.1", port), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else small answers wait for the other side's acknowledgement

    def do_GET(self) -> None:
        name = unquote(urlsplit(self.path).path).removeprefix("/") or "index.html"
        if self.headers.get("Host", "") not in [f"{h}:{self.server.server_port}" for h in ("127.0.0.1", "localhost")]:
            self.send_error(403)  # a page elsewhere whose name was made to lead here
        elif call := self.server.calls.get(name):
            parts = call(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            body = None if parts is None else list(parts)
            self._start(204 if body is None else 200, "", sum(map(len, body or ())))
            for part in body or ():
                self.wfile.write(part)
        elif (file := self.server.files.get(name)) is None:
            self.send_error(404)
        elif isinstance(file, bytes):
            self._start(200, name, len(file))
            self.wfile.write(file)
        else:
            with file.open("rb") as source:
                self._start(200, name, file.stat().st_size)
                shutil.copyfileobj(source, self.wfile, 1 << 20)

    do_POST = do_GET

    def _start(self, status: int, name: str, size: int) -> None:
        self.send_response(status)
        ending = Path(name).suffix
        self.send_header("Content-Type", TYPES.get(ending, TYPES[""]))
        if status != 204:
            self.send_header("Content-Length", str(size))
        for key, value in HEADERS.items():
            self.send_header(key, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass
