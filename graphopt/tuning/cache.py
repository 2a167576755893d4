"""What tuning learnt, as a JSON file that can be shipped: read whole, written whole, shared by processes."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graphopt.errors import ArgumentError, SaveError

_FORMAT = 1
#: Seconds to wait for another process that writes, and after which its lock counts as left behind.
_WAIT, _STALE = 20.0, 60.0


class Cache:
    """Records by key in a file, which need not exist yet."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            raise ArgumentError(f"tune_cache: '{self.path}' is a folder; name a file")

    def read(self) -> dict[str, Any]:
        """All records.

        Raises:
            ArgumentError: the file is no cache of ours, or cannot be read. It is left as it is.
        """
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as e:
            raise self._broken(str(e)) from e
        if not isinstance(data, dict) or not isinstance(data.get("entries"), dict):
            raise self._broken("it holds no entries")
        if data.get("format") != _FORMAT:
            raise self._broken(f"its format is {data.get('format')!r}, not {_FORMAT}")
        return dict(data["entries"])

    def get(self, key: str) -> dict[str, Any] | None:
        """One record."""
        found = self.read().get(key)
        if found is not None and not isinstance(found, dict):
            raise self._broken(f"entry {key[:12]} is no record")
        return found

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Add a record; what other processes added meanwhile stays.

        Raises:
            ArgumentError: see `read`; nothing is written then.
            SaveError: it cannot be written.
        """
        try:
            with self._locked():
                entries = self.read() | {key: record}
                text = json.dumps({"format": _FORMAT, "entries": entries}, indent=1, sort_keys=True)
                temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.new")
                try:
                    temporary.write_text(text + "\n", encoding="utf-8")
                    os.replace(temporary, self.path)
                finally:
                    temporary.unlink(missing_ok=True)
        except OSError as e:
            raise SaveError(f"tune_cache: '{self.path}' cannot be written: {e.strerror or e}") from e

    def _broken(self, why: str) -> ArgumentError:
        return ArgumentError(
            f"tune_cache: '{self.path}' cannot be read as a tuning cache: {why}; it is left as it is, name another file"
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold a file beside the cache that only one process can create."""
        lock = self.path.with_name(f".{self.path.name}.lock")
        until = time.monotonic() + _WAIT
        while True:
            try:
                os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                break
            except FileExistsError:
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - lock.stat().st_mtime > _STALE:  # whoever made it is gone
                        lock.unlink()
                        continue
                if time.monotonic() > until:
                    raise SaveError(
                        f"tune_cache: another process holds '{lock}'; remove it if none is running"
                    ) from None
                time.sleep(0.01)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
