"""The cache: read and written whole, by several processes, never overwritten where it cannot be read."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from graphopt.errors import ArgumentError, SaveError
from graphopt.tuning.cache import Cache


def test_there_and_back(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c.json")
    assert cache.get("k") is None and not cache.path.exists()
    cache.put("k", {"a": 1})
    cache.put("l", {"b": 2})
    assert Cache(tmp_path / "c.json").get("k") == {"a": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.json"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        ("{", "Expecting"),
        ("[]", "it holds no entries"),
        ('{"format": 1}', "it holds no entries"),
        ('{"format": 7, "entries": {}}', "its format is 7, not 1"),
        ("\x00\xff", "Expecting value"),
    ],
)
def test_what_cannot_be_read_is_named_and_left_alone(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    before = path.read_bytes()
    for action in (lambda: Cache(path).get("k"), lambda: Cache(path).put("k", {})):
        with pytest.raises(ArgumentError, match=f"c.json' cannot be read as a tuning cache: .*{why}.*left as it is"):
            action()
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_a_folder_is_no_cache(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="is a folder; name a file"):
        Cache(tmp_path)


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="cannot be written"):
        Cache(tmp_path / "no" / "c.json").put("k", {})


def _add(path: str, name: str) -> None:
    for i in range(20):
        Cache(path).put(f"{name}{i}", {"n": i})


def test_two_processes_keep_each_others_records(tmp_path: Path) -> None:
    path = str(tmp_path / "c.json")
    context = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")
    both = [context.Process(target=_add, args=(path, name)) for name in "ab"]
    for p in both:
        p.start()
    for p in both:
        p.join()
        assert p.exitcode == 0
    assert len(json.loads(Path(path).read_text())["entries"]) == 40


def test_a_lock_that_was_left_behind_is_removed(tmp_path: Path) -> None:
    lock = tmp_path / ".c.json.lock"
    lock.touch()
    os.utime(lock, (1, 1))
    Cache(tmp_path / "c.json").put("k", {})
    assert not lock.exists()


def test_a_lock_that_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".c.json.lock").touch()
    monkeypatch.setattr("graphopt.tuning.cache._WAIT", 0.02)
    with pytest.raises(SaveError, match="another process holds"):
        Cache(tmp_path / "c.json").put("k", {})
