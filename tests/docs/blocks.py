"""The code blocks of Markdown pages, and how each kind of them is tried.

Blocks of one page run in order, in one folder and with one set of names, as a reader would type them. In the folder lies
`model.onnx`, the demo model, which the pages use for a model of the reader's own; what else a page needs, it makes.

A block whose title begins with "Not run here" is not run, but its syntax is checked; the words after it say why, and are seen by
readers as well. A block of text under the title "Output" is what the block before it printed; "..." stands for anything.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib.util
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt

from graphopt.cli import main

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NOT_RUN = "Not run here"
#: What takes minutes on purpose is asked for less here; all else stays as the page has it.
QUICKER = {"tune=60": "tune=0.5", "--tune 60": "--tune 0.5", "--minutes 20": "--seeds 2"}
_TITLE = re.compile(r'title="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        language: the first word behind the fence; "" where there is none.
        title: what readers see above it.
        line: the number of its first line in the page.
    """

    page: Path
    language: str
    title: str
    text: str
    line: int

    @property
    def left_out(self) -> bool:
        """Whether the page says that it is not run."""
        return self.title.startswith(NOT_RUN)

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in lists and quotes too."""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    found = []
    for t in tokens:
        if t.type == "fence" and t.map is not None:
            title = _TITLE.search(t.info)
            language = (t.info.split() or [""])[0]
            text = t.content
            for long, short in QUICKER.items():
                text = text.replace(long, short)
            found.append(Block(page, language, title[1] if title else "", text, t.map[0] + 2))
    return found


class Stage:
    """Where the blocks of one page run: a folder that is the current one, and the names that they have bound."""

    def __init__(self, page: Path, root: Path) -> None:
        self.page = page
        self.root = root
        self.names: dict[str, Any] = {"__name__": "example"}
        self.printed = ""

    def run(self, block: Block) -> str:
        """Try a block; what was done with it, for counting.

        Raises:
            AssertionError: it does not hold what it shows; or whatever its code raises.
        """
        if block.left_out:
            _check_syntax(block)
            return "syntax"
        done = _KINDS.get(block.language)
        assert done is not None, (
            f"{block}: no test knows what to do with a block of '{block.language}'; teach {__file__}"
        )
        return done(self, block)

    def python(self, block: Block) -> str:
        source = "\n" * (block.line - 1) + block.text
        if first := re.match(r"# (\w+\.py)\n", block.text):  # a file of the reader's
            Path(first[1]).write_text(block.text, encoding="utf-8")
            ast.parse(source, str(block))
            sys.modules.pop(Path(first[1]).stem, None)
            return "file"
        expected = re.search(r"^# raises (\w+)", block.text, re.MULTILINE)
        self._capture(lambda: self._execute(source, block, expected[1] if expected else None))
        return "run"

    def _execute(self, source: str, block: Block, expected: str | None) -> None:
        try:
            exec(compile(source, str(block.page), "exec"), self.names)  # the page's own, in a folder of its own
        except Exception as e:
            if expected is None or type(e).__name__ != expected:
                raise
            print(e)
        else:
            assert expected is None, f"{block}: nothing raised {expected}"

    def shell(self, block: Block) -> str:
        done = {self._command(line, block) for line in _lines(block.text)}
        return "run" if "run" in done else "checked"

    def _command(self, line: str, block: Block) -> str:
        if line.startswith(("mkdir ", "cp ", "cat ")):
            subprocess.run(line, shell=True, check=True, stdout=subprocess.DEVNULL)
            return "run"
        if "|" in line:
            return self._pipe(line, block)
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        if words[:2] == ["python", "-m"]:
            words = words[2:]
        match words:
            case []:
                return "checked"
            case ["graphopt", *arguments]:
                return self._graphopt(arguments, line, block)
            case ["pip", "install", *arguments]:
                self._check_extras(arguments, block)
                return "checked"
            case ["pytest", *arguments]:
                return self._pytest(arguments, block)
            case ["jupytext", *_]:
                return "checked"
            case [name, *_] if name.startswith("benchmarks.") or name == "notebooks":  # they need models, and minutes
                assert importlib.util.find_spec(name) is not None, f"{block}: there is no {name}"
                return "checked"
        raise AssertionError(f"{block}: no test knows what to do with '{line}'; teach {__file__}")

    def _pipe(self, line: str, block: Block) -> str:
        """Between processes, as a shell does it."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        command = ["bash", "-o", "pipefail", "-c", line]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": path})
        self.printed = done.stdout
        assert done.returncode == _wanted(line), f"{block}: '{line}': {done.stdout}{done.stderr}"
        return "run"

    def _graphopt(self, arguments: list[str], line: str, block: Block) -> str:
        target = arguments[arguments.index(">") + 1] if ">" in arguments else None
        shown = arguments[: arguments.index(">")] if target else arguments
        code = self._capture(lambda: main(shown))
        assert code == _wanted(line), f"{block}: 'graphopt {shlex.join(shown)}' ends with {code}:\n{self.printed}"
        if target:
            Path(target).write_text(self.printed, encoding="utf-8")
        return "run"

    def _pytest(self, arguments: list[str], block: Block) -> str:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(self.root)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        self.printed = done.stdout
        assert done.returncode == 0, f"{block}: {done.stdout}{done.stderr}"
        return "run"

    def _check_extras(self, arguments: list[str], block: Block) -> None:
        project = tomllib.loads((self.root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        known = {*project["optional-dependencies"]}
        for word in arguments:
            if match := re.fullmatch(r"(?:graphopt|\.)\[(.+)\]", word):
                lacking = set(match[1].split(",")) - known
                assert not lacking, f"{block}: pyproject.toml has no extra {lacking}"

    def text(self, block: Block) -> str:
        if block.title != "Output":
            return "shown"
        same = doctest.OutputChecker().check_output(
            block.text, self.printed, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        )
        assert same, f"{block}: the page says\n{block.text}\nprinted is\n{self.printed}"
        return "compared"

    def data(self, block: Block) -> str:
        _check_syntax(block)
        return "checked"

    def _capture(self, what: Callable[[], Any]) -> Any:
        stream = _Text()
        with contextlib.redirect_stdout(stream):
            result = what()
        self.printed = stream.getvalue()
        return result


class _Text(io.StringIO):
    """Where blocks print to; the program asks its stream not to fail on strange letters, and this one never does."""

    def reconfigure(self, **_: object) -> None: ...


def _lines(text: str) -> Iterator[str]:
    """Commands, those that go on in the next line put together."""
    yield from (line for line in text.replace("\\\n", " ").splitlines() if line.strip())


def _wanted(line: str) -> int:
    """The exit code that the comment behind a command names."""
    return 1 if "exit code 1" in line else 0


def _check_syntax(block: Block) -> None:
    match block.language:
        case "python":
            ast.parse(block.text, str(block))
        case "sh":
            for line in _lines(block.text):
                shlex.split(line, comments=True)
        case "toml":
            tomllib.loads(block.text)
        case "json":
            json.loads(block.text)
        case "yaml":
            assert yaml.safe_load(block.text)
        case "js" | "html":
            assert block.text.count("{") == block.text.count("}") and block.text.count("(") == block.text.count(")")


_KINDS: dict[str, Callable[[Stage, Block], str]] = {
    "python": Stage.python, "sh": Stage.shell, "text": Stage.text, "toml": Stage.data, "json": Stage.data, "yaml": Stage.data,
}  # fmt: skip
