"""Run the notebooks of this folder from top to bottom, each in a kernel of its own.

    python -m notebooks                  all of them; the exit code is 1 where a cell fails
    python -m notebooks 02 bisect        those whose names hold one of these
    python -m notebooks -o build/        and write them with their outputs, as .ipynb
    python -m notebooks --list           their names and titles

What they need is the extra `graphopt[notebooks]`. Nothing is written without -o.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
#: Seconds that one cell may take.
LIMIT = 120


def notebooks(folder: Path, words: Sequence[str] = ()) -> list[Path]:
    """The notebooks of a folder in order: those whose names hold one of the words, all where there are none."""
    found = sorted(p for p in folder.glob("[0-9]*.py") if not words or any(w in p.stem for w in words))
    if not found:
        known = ", ".join(p.stem for p in sorted(folder.glob("[0-9]*.py")))
        raise SystemExit(f"no notebook is named like {' or '.join(words)}; there are {known or 'none'}")
    return found


def title(path: Path) -> str:
    """The first heading."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line.removeprefix("# # ") for line in lines if line.startswith("# # ")), path.stem)


def run(path: Path, output: Path | None = None) -> tuple[int, str]:
    """Run a notebook: how many cells of code it has, and what went wrong, '' where nothing did.

    Args:
        path: the text.
        output: the .ipynb file to write, also where a cell fails: it then ends there.
    """
    try:
        import jupytext
        import nbformat
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    except ImportError as e:
        raise SystemExit(f"{e.name} is not installed: pip install 'graphopt[notebooks]'") from e

    notebook: Any = jupytext.read(path)
    client = NotebookClient(
        notebook,
        timeout=LIMIT,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
    )
    problem = ""
    try:
        client.execute()
    except CellExecutionError as e:
        problem = str(e)
    except CellTimeoutError:
        problem = f"a cell took more than {LIMIT} s"
    except DeadKernelError:
        problem = "the kernel died"
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, output)
    return sum(cell.cell_type == "code" for cell in notebook.cells), problem


def main(arguments: Sequence[str] | None = None, folder: Path = HERE) -> int:
    """The command; 0 where all cells ran."""
    parser = argparse.ArgumentParser(prog="python -m notebooks", description="Run the notebooks from top to bottom.")
    parser.add_argument("words", nargs="*", metavar="NAME", help="only those whose names hold one of these")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="write them with their outputs, as .ipynb")
    parser.add_argument("--list", action="store_true", help="tell their names and titles, and run none")
    options = parser.parse_args(arguments)
    failed = 0
    for path in notebooks(folder, options.words):
        if options.list:
            print(f"{path.stem:28s} {title(path)}")
            continue
        started = time.perf_counter()
        cells, problem = run(path, options.output and options.output / f"{path.stem}.ipynb")
        failed += bool(problem)
        print(
            f"{path.stem:28s} {cells:3d} cells  {time.perf_counter() - started:5.1f} s  {'failed' if problem else 'ok'}",
            flush=True,
        )
        if problem:
            print(problem, file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
