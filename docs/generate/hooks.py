"""What MkDocs calls while it builds the site (mkdocs.yml): adds pages made from the code and from files at the root."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # MkDocs loads this file by its path

from docs.generate import api, catalogue, commands, house  # noqa: E402 - found by the path above
from docs.generate.examples import examples_of  # noqa: E402 - likewise

#: Files at the root that are pages of the site, and where they are there.
PAGES = {
    "README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md", "benchmarks/where.md": "where.md",
}  # fmt: skip
EXAMPLES = ROOT / "build" / "examples"
_DRAWING = re.compile(r"<!-- drawing (?P<name>\w+) -->")
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<to>(?!https?:|#)[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")


def on_startup(**_: Any) -> None:
    """Lay the package out as it is imported, for the API pages: before mkdocstrings looks which of its folders there are."""
    _lay_out(ROOT / "build" / "api")


def on_config(config: Any) -> Any:
    """Put the generated pages into the navigation."""
    families: dict[str, list[Any]] = {}
    for phase, family in catalogue.families():
        families.setdefault(phase, []).append({family: catalogue.page_of(phase, family)})
    added = {
        "Rule catalogue": ["catalogue/index.md", *({phase: pages} for phase, pages in families.items())],
        "API": ["api/index.md", *({p.title: p.address} for p in api.PAGES)],
    }
    config.nav = [next(({k: added[k]} for k in entry if k in added), entry) for entry in config.nav]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add what is generated."""
    pages: dict[str, Callable[[], str]] = {
        "catalogue/index.md": catalogue.overview,
        "command-line.md": commands.page,
        "api/index.md": api.overview,
        **{p.address: p.text for p in api.PAGES},
    }
    for address, text in pages.items():
        files.append(File.generated(config, address, content=text()))
    examples = examples_of(EXAMPLES)
    for (phase, family), rules in catalogue.families().items():
        text = catalogue.page(phase, family, rules, examples)
        files.append(File.generated(config, catalogue.page_of(phase, family), content=text))
    for source, address in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, address, content=_relinked(text, Path(source).parent)))
    return files


def on_post_page(output: str, **_: Any) -> str:
    """Put drawings where pages ask for them: behind Markdown and the search index, which have nothing to do with them."""
    for folder, name in reversed(house.FOLDERS.items()):  # where a source lies in the repository
        output = output.replace(f"build/api/{name.replace('.', '/')}/", f"{folder}/")
    return _DRAWING.sub(lambda m: _drawing(m["name"]), output)


def _drawing(name: str) -> str:
    if name == "house":
        return f'<div class="drawing">{house.drawing()}</div>'
    return f'<div class="drawing">{examples_of(EXAMPLES)[name].drawing(f"{name}, before and after")}</div>'


def _relinked(text: str, folder: Path) -> str:
    """A page from the root of the repository, with links that hold where it is on the site; those to files that are no pages
    become plain text."""

    def link(match: re.Match[str]) -> str:
        target = (folder / match["to"]).as_posix()
        if target in PAGES:
            return f"[{match['text']}]({PAGES[target]}{match['anchor'] or ''})"
        if target.startswith("docs/"):
            return f"[{match['text']}]({target.removeprefix('docs/')}{match['anchor'] or ''})"
        return match["text"]

    return _LINK.sub(link, text)


def _lay_out(target: Path) -> None:
    """graphopt/ with patterns/ and exec/ inside, as it is imported, for mkdocstrings, which reads files and does not import.
    A copy: links would be followed back to where the three lie apart."""
    shutil.rmtree(target, ignore_errors=True)
    for folder, name in house.FOLDERS.items():
        for file in (ROOT / folder).rglob("*.py"):
            place = target.joinpath(*name.split("."), file.relative_to(ROOT / folder))
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
