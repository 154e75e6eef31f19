"""What MkDocs runs: pages that are generated, the figures, and numbers put into the text.

`{{ name }}` in a page is a number or a table from results/, see `insertions`.
"""

import re
import sys
from pathlib import Path

import insertions
import reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"


def on_startup(command: str, dirty: bool) -> None:
    """Lay the folders where their installed name says that they are, as mkdocs.yml expects."""
    package = ROOT / "build" / "documented" / "mem_dfa"
    package.mkdir(parents=True, exist_ok=True)
    for place in [*(ROOT / "mem_dfa").iterdir(), ROOT / "profiling", ROOT / "experiments"]:
        link = package / place.name
        link.unlink(missing_ok=True)
        link.symlink_to(place)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages and the figures that were drawn."""
    sys.argv[0] = "mem-dfa"  # as the help of commands says that it was called
    for name, content in reference.pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    for figure in sorted((RESULTS / "figures").glob("*.png")):
        made = File.generated(config, f"figures/{figure.name}", abs_src_path=str(figure))
        files.append(made)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put numbers and tables from results/ into the text."""
    known = insertions.texts(str(RESULTS))

    def inserted(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise PluginError(f"{page.file.src_uri} asks for {match[0]}, which results/ lacks")
        return known[match[1]]

    return re.sub(r"\{\{ (\w+) \}\}", inserted, markdown)
