"""What is set once for the whole process: where messages go, and how many threads matrix products may use."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

#: ONNX Runtime's severities: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal.
LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)

logger = logging.getLogger("graphopt.exec")


class Env:
    """The environment of all sessions of a process.

    Messages go to the logger 'graphopt.exec'; a session's own severity (`SessionOptions.log_severity_level`) comes on
    top. Where the program has not set logging up, what passes goes to stderr.
    """

    def __init__(self) -> None:
        self.severity = 2
        self.threads = 0

    def set_default_logger_severity(self, severity: int) -> None:
        """Which messages of sessions pass that set no severity: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal.

        Raises:
            ValueError: it is none of these.
        """
        if severity not in range(len(LEVELS)):
            raise ValueError(f"log severity {severity!r}: it must be 0 (verbose), 1, 2, 3 or 4 (fatal)")
        self.severity = severity

    def set_global_thread_pool_sizes(self, intra_op: int, inter_op: int = 1) -> None:
        """Threads inside an operator, for sessions that set none; 0: as the libraries like. `inter_op` has no meaning here."""
        if intra_op < 0:
            raise ValueError(f"intra_op must be 0 or more, not {intra_op}")
        self.threads = intra_op

    def log(self, severity: int, message: str, threshold: int | None = None) -> None:
        """Say something, if it is severe enough for the session (its threshold) or the environment."""
        if severity >= (self.severity if threshold is None or threshold < 0 else threshold):
            if not logging.getLogger().handlers and not logger.handlers:
                logger.addHandler(logging.StreamHandler())
            logger.setLevel(logging.DEBUG)
            logger.log(LEVELS[severity], message)

    @contextmanager
    def limit_threads(self, threads: int) -> Iterator[None]:
        """Let NumPy's matrix products use this many threads inside the block; 0: as many as the environment says.

        It needs threadpoolctl (the extra 'threads'); without it the libraries' own settings (OMP_NUM_THREADS) hold.
        """
        wanted = threads or self.threads
        pools = _thread_pools() if wanted else None
        if pools is None:
            yield
            return
        with pools.limit(limits=wanted):
            yield


@functools.cache
def _thread_pools() -> Any:
    """The libraries' pools, looked for once; None without threadpoolctl."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController()


@functools.cache
def hold_memory() -> None:
    """Let the C library keep what arrays give back, instead of returning it to the system to be faulted in again.

    glibc learns from the largest block that it ever freed; pages that nobody touches cost nothing.
    """
    np.empty((32 << 20) - 8192, np.uint8)


@contextmanager
def numpy_settings() -> Iterator[None]:
    """No warnings, as in every runtime; and small buffers: with NumPy's own it copies the operands that it broadcasts."""
    with np.errstate(all="ignore"):
        np.setbufsize(1024)  # until the end of the block
        yield


#: The one of this process.
ENV = Env()
