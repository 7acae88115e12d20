"""What MkDocs is told beside mkdocs.yml: diagrams become SVG, and pages outside docs/ join the site.

Needs the extra ``docs``. MkDocs calls the functions named ``on_...``.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import mmdr
import novasvg
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.superfences import SuperFencesException

ROOT = Path(__file__).resolve().parent.parent
_OUTSIDE = ("CHANGELOG.md", "benchmarks/README.md", "benchmarks/cqc.md", "benchmarks/therapists.md")
_SAMPLES = "samples/"
_LATER = ("serve.md",)
"""Pages that have their place and may not be there yet."""
_WIDTH, _WIDEST = 1600, 640  # of a picture in the PDF: its pixels, and how many of CSS it may take
_THEMES_OWN, _OURS = ("76.25em", "76.234375em"), ("73em", "72.984375em")
"""From which width on the navigation stands beside the text: screens of 1200 pixels are common, and too narrow for the
theme."""
_as_svg = True


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Draw Mermaid's fences when the site is built, and complete the navigation with what is in folders."""
    fence = {"name": "mermaid", "class": "diagram", "format": diagram}
    global _as_svg  # noqa: PLW0603 - MkDocs' hooks are functions of a module
    _as_svg = "to-pdf" not in config.plugins
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": [fence]}
    config.nav = [_completed(entry) for entry in config.nav or [] if entry is not None]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that live elsewhere in the repository, under the same names."""
    for name in _OUTSIDE:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    for path in sorted((ROOT / _SAMPLES).rglob("*.*")):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """In the repository those pages are one folder up, seen from docs/; the decision log lists its folder."""
    if page.file.src_uri == "decisions/README.md":
        markdown += "\n" + "\n".join(f"- [{title}]({path.name})" for title, path in decisions()) + "\n"
    if not page.file.src_uri.startswith("decisions/"):
        markdown = re.sub(r"\]\(((?:\.\./)*)docs/", r"](\1", markdown)  # those from elsewhere, the other way round
    if not _as_svg:  # files beside the pages are no part of the PDF
        markdown = re.sub(rf"\[([^\]]+)\]\((?:\.\./)*{_SAMPLES}(?!README\.md)[^)]*\)", r"\1", markdown)
    up = "../" if page.file.src_uri.startswith("decisions/") else ""
    return re.sub(rf"\]\({up}\.\./(CHANGELOG\.md|benchmarks/|{_SAMPLES})", rf"]({up}\1", markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Show the navigation on narrower screens, in the theme's styles and in its script, which both know the width."""
    for kind in ("stylesheets", "javascripts"):
        changed = [_widened(path) for path in (Path(config.site_dir) / "assets" / kind).glob("*.min.*s")]
        if not any(changed):
            raise PluginError(
                f"the theme has another width than {_THEMES_OWN[0]} in its {kind}: see tools/site_hooks.py"
            )


def _widened(path: Path) -> bool:
    text = path.read_text(encoding="utf-8")
    new = text
    for own, ours in zip(_THEMES_OWN, _OURS, strict=True):
        new = new.replace(own, ours)
    if new != text:
        path.write_text(new, encoding="utf-8")
    return new != text


def diagram(source: str, language: str, css_class: str, options: dict[str, Any], md: Any, **more: Any) -> str:
    """A Mermaid diagram as SVG, so that readers need neither JavaScript nor a network."""
    try:
        drawn = re.sub(r"^<\?xml[^>]*>\s*", "", mmdr.render(source).svg())
        # the renderer measures a narrow typeface; readers' machines may have a wide one
        drawn = drawn.replace("font-size:14px", "font-size:12.5px").replace("font-size:16px", "font-size:14px")
        return f'<figure class="{css_class}">{drawn if _as_svg else _picture(drawn)}</figure>'
    except Exception as error:  # any other one would make it show as text, and nobody would notice
        raise SuperFencesException(f"this diagram cannot be drawn: {error}") from error


def _picture(svg: str) -> str:
    """The same as a picture: WeasyPrint does not know the style sheets inside an SVG."""
    drawing = novasvg.Document.load_from_data(svg)
    png = drawing.render_to_bitmap(_WIDTH, -1, novasvg.Color("#ffffff")).to_png()
    shown = min(0.7 * drawing.width, _WIDEST)
    data = base64.b64encode(png).decode()
    return f'<img alt="diagram" style="width: {shown:.0f}px" src="data:image/png;base64,{data}">'


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
    if inside == "samples":
        return {title: f"{_SAMPLES}README.md"}
    if inside == "benchmarks":
        return {title: [name for name in _OUTSIDE if name.startswith("benchmarks/")]}
    if isinstance(inside, list):
        return {title: [_completed(one) for one in inside if not _missing(one)]}
    return entry


def _missing(entry: Any) -> bool:
    return any(page in _LATER and not (ROOT / "docs" / page).exists() for page in getattr(entry, "values", list)())
