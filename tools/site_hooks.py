"""What MkDocs is told beside mkdocs.yml: diagrams become SVG, and pages outside docs/ join the site.

Needs the extra ``docs``. MkDocs calls the functions named ``on_...``.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import mmdr
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
_OUTSIDE = ("CHANGELOG.md", "benchmarks/README.md", "benchmarks/cqc.md", "benchmarks/therapists.md")
_LATER = ("serve.md",)
"""Pages that have their place and may not be there yet."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Draw Mermaid's fences when the site is built, and complete the navigation with what is in folders."""
    fence = {"name": "mermaid", "class": "diagram", "format": diagram}
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": [fence]}
    config.nav = [_completed(entry) for entry in config.nav or [] if entry is not None]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that live elsewhere in the repository, under the same names."""
    for name in _OUTSIDE:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """In the repository those pages are one folder up, seen from docs/; the decision log lists its folder."""
    if page.file.src_uri == "decisions/README.md":
        markdown += "\n" + "\n".join(f"- [{title}]({path.name})" for title, path in decisions()) + "\n"
    up = "../" if page.file.src_uri.startswith("decisions/") else ""
    return re.sub(rf"\]\({up}\.\./(CHANGELOG\.md|benchmarks/)", rf"]({up}\1", markdown)


def diagram(source: str, language: str, css_class: str, options: dict[str, Any], md: Any, **more: Any) -> str:
    """A Mermaid diagram as SVG, so that readers need neither JavaScript nor a network, and the PDF has it too."""
    drawn = re.sub(r"^<\?xml[^>]*>\s*", "", mmdr.render(source).svg())
    return f'<figure class="{css_class}" aria-label="{html.escape(source[:60])}">{drawn}</figure>'


def decisions() -> list[tuple[str, Path]]:
    """Title and file of every decision, by file name."""
    found = []
    for path in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        if path.name != "README.md":
            found.append((path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# "), path))
    return found


def _completed(entry: Any) -> Any:
    """One entry of the navigation: folders become their pages, pages that are not written yet are left out."""
    if isinstance(entry, str):
        return entry
    ((title, inside),) = entry.items()
    if inside == "decisions":
        return {title: ["decisions/README.md", *(f"decisions/{path.name}" for _, path in decisions())]}
    if inside == "benchmarks":
        return {title: [name for name in _OUTSIDE if name.startswith("benchmarks/")]}
    if isinstance(inside, list):
        return {title: [_completed(one) for one in inside if not _missing(one)]}
    return entry


def _missing(entry: Any) -> bool:
    return any(page in _LATER and not (ROOT / "docs" / page).exists() for page in getattr(entry, "values", list)())
