"""What is set for the whole process: severities, threads, NumPy's settings; and that none of it outlives its block."""

from __future__ import annotations

import functools
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import pytest

import graphopt.exec as own
from graphopt.exec.environment import ENV, Env, _thread_pools, hold_memory, logger, numpy_settings


@pytest.mark.parametrize(
    ("severity", "threshold", "said"),
    [(0, 0, True), (1, 0, True), (0, 1, False), (1, 1, True), (2, None, True), (1, None, False), (2, -1, True), (1, -1, False), (4, 4, True), (3, 4, False)],
)  # fmt: skip
def test_what_passes_the_threshold(
    severity: int, threshold: int | None, said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="graphopt.exec"):
        Env().log(severity, "something", threshold)
    assert [r.message for r in caplog.records] == ["something"] * said
    names = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    assert all(r.levelname == names[severity] for r in caplog.records)


def test_the_severity_of_the_process(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ENV, "severity", 2)
    with caplog.at_level(logging.DEBUG, logger="graphopt.exec"):
        own.set_default_logger_severity(1)
        ENV.log(1, "now")
        own.set_default_logger_severity(3)
        ENV.log(2, "not now")
    assert [r.message for r in caplog.records] == ["now"]
    for wrong in (-1, 5, 17):
        with pytest.raises(ValueError, match=f"log severity {wrong}: it must be 0 .verbose., 1, 2, 3 or 4"):
            own.set_default_logger_severity(wrong)
    assert ENV.severity == 3


def test_messages_go_to_stderr_where_nobody_has_set_logging_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(functools.partial(logging.disable, logging.root.manager.disable))
    logging.disable(logging.NOTSET)  # what other tests import may have silenced all
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logger, "handlers", [])
    env = Env()
    env.log(2, "one")
    env.log(2, "two")
    assert capsys.readouterr().err.split() == ["one", "two"]
    assert len(logger.handlers) == 1
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.NullHandler()])
    env.log(2, "three")
    assert not logger.handlers and not capsys.readouterr().err


@pytest.fixture
def forget_pools() -> Iterator[None]:
    """The pools are looked for anew, in the test and after it."""
    _thread_pools.cache_clear()
    yield
    _thread_pools.cache_clear()


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch, forget_pools: None) -> list[int]:
    """What threadpoolctl is asked for, and what is given back."""
    asked: list[int] = []

    class ThreadpoolController:
        @contextmanager
        def limit(self, *, limits: int) -> Iterator[None]:
            asked.append(limits)
            yield
            asked.append(-limits)

    module = ModuleType("threadpoolctl")
    monkeypatch.setattr(module, "ThreadpoolController", ThreadpoolController, raising=False)
    monkeypatch.setitem(sys.modules, "threadpoolctl", module)
    return asked


def test_threads(limits: list[int]) -> None:
    env = Env()
    for wanted in (0, 3):
        with env.limit_threads(wanted):
            pass
    env.set_global_thread_pool_sizes(2)
    for wanted in (0, 3):
        with env.limit_threads(wanted):
            assert limits[-1] > 0
    assert limits == [3, -3, 2, -2, 3, -3]
    with pytest.raises(ValueError, match="intra_op must be 0 or more, not -1"):
        env.set_global_thread_pool_sizes(-1)


def test_threads_of_a_session(limits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.ir.building import parse

    monkeypatch.setattr(ENV, "threads", 0)
    options = own.SessionOptions()
    options.intra_op_num_threads = 5
    model = parse("g (float[2] x) => (float[2] y) { y = Neg(x) }")
    own.InferenceSession(model, options).run(None, {"x": np.ones(2, np.float32)})
    assert limits == [5, -5]


@pytest.mark.usefixtures("forget_pools")
def test_threads_without_threadpoolctl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with Env().limit_threads(3):
        pass


@pytest.mark.usefixtures("forget_pools")
def test_real_threads() -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")
    if not any(p["user_api"] == "blas" for p in threadpoolctl.threadpool_info()):
        pytest.skip("NumPy's BLAS is none that threadpoolctl knows")

    def counts() -> set[int]:
        return {p["num_threads"] for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas"}

    before = counts()
    with Env().limit_threads(1):
        assert counts() == {1}
    assert counts() == before


def test_numpy_is_quiet_inside_and_as_before_afterwards() -> None:
    before = np.geterr(), np.getbufsize()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with numpy_settings():
            assert set(np.geterr().values()) == {"ignore"} and np.getbufsize() == 1024
            np.log(np.zeros(1))
        assert (np.geterr(), np.getbufsize()) == before
        with pytest.raises(KeyError), numpy_settings():
            raise KeyError
    assert (np.geterr(), np.getbufsize()) == before


def test_memory_is_held_once() -> None:
    hold_memory()
    assert hold_memory() is None and hold_memory.cache_info().currsize == 1
