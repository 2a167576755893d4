"""A folder that is written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from graphopt.errors import SaveError


@contextlib.contextmanager
def whole_folder(folder: Path, mark: str, force: bool = False) -> Iterator[Path]:
    """A new folder beside `folder`, which takes its place at the end; where something is raised, it goes.

    Args:
        folder: may be there if it is empty, or has the file `mark`, by which it is known for one that was written here.
        mark: that file's name; the new folder is to have it.
        force: replace whatever the folder holds.

    Raises:
        SaveError: the folder holds something else, is a file or one that must not go, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise SaveError(f"'{folder}' is a file, not a folder")
    if not folder.absolute().parent.is_dir():
        raise SaveError(f"folder '{folder.absolute().parent}' does not exist; create it first")
    if folder.exists() and any(folder.iterdir()) and not (folder / mark).is_file():
        if not force:
            raise SaveError(
                f"'{folder}' holds something else; name another folder, or replace all that it holds with force=True"
            )
        if any(place.is_relative_to(folder.resolve()) for place in (Path.cwd().resolve(), Path.home().resolve())):
            raise SaveError(
                f"'{folder}' holds where you are, or all your files, and is not replaced; name another folder"
            )
    place = folder.resolve()  # what a link leads to
    try:
        new = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".tmp", dir=place.parent))
    except OSError as e:
        raise SaveError(f"'{folder}' cannot be written: {e.strerror or e}") from e
    try:
        yield new
        os.chmod(new, 0o777 & ~_umask())
        old = new.with_suffix(".old")
        if place.exists():
            os.replace(place, old)
        try:
            os.replace(new, place)
        except OSError:
            if old.exists():
                os.replace(old, place)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as e:
        raise SaveError(f"'{folder}' cannot be written: {e.strerror or e}") from e
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
