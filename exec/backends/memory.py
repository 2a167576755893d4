"""Memory that goes back and forth between a program and the system."""

from __future__ import annotations

import ctypes
import platform

#: Parameters of glibc's mallopt: https://man7.org/linux/man-pages/man3/mallopt.3.html
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Blocks of up to so many bytes stay with the process when they are freed.
_KEPT = 1 << 30


def keep_freed() -> bool:
    """Let the C library keep large blocks that are freed, up to 1 GiB, for the next ones; for the whole process.

    XLA for the CPU allocates what a program computes with anew each time it runs. glibc gives blocks of more than 32 MiB back
    to the system, which then fills them with zeros, page by page: 10 to 17 of 75 ms of a transformer's step with 35 MiB.

    Returns:
        Whether this C library has been told so; others are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, _KEPT) and mallopt(_TRIM_THRESHOLD, _KEPT))
