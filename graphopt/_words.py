"""Numbers of bytes and long lists in a few words, for all that is printed or drawn. Imports nothing: the command line does."""

from __future__ import annotations

from collections.abc import Sequence


def size_text(n: float) -> str:
    """A number of bytes: '12.3 MiB'."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n < 1024 or unit == "GiB":
            break
        n /= 1024
    return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"


def listed(texts: Sequence[str], limit: int, separator: str = ", ") -> str:
    """The texts in one line, those past the limit as a number."""
    more = len(texts) - limit
    return separator.join(texts[:limit]) + (f" and {more:,} more" if more > 0 else "")
