"""The pages of the documentation and what a reader would type of them: fenced blocks, code in lines."""

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from tests.command_lines import ROOT

DOCS = ROOT / "keomni_rl" / "docs"
README = ROOT / "README.md"
PAGES = sorted(DOCS.rglob("*.md"))
MARKDOWN = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: Path
    line: int
    language: str
    title: str | None
    """The file that it is, as ``title="mine.yaml"`` says."""
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found = []
    for token in MARKDOWN.parse(page.read_text()):
        if token.type == "fence":
            title = re.search(r'title="([^"]+)"', token.info)
            found.append(
                Block(
                    page=page,
                    line=token.map[0] + 1,
                    language=token.info.split()[0] if token.info else "",
                    title=title[1] if title else None,
                    text=token.content,
                )
            )
    return found


def inline_code(page: Path) -> list[str]:
    """Everything between backticks in a page's text and tables."""
    inner = [child for token in MARKDOWN.parse(page.read_text()) for child in token.children or ()]
    return [token.content for token in inner if token.type == "code_inline"]


def name(page: Path) -> str:
    """A page in the words of a test's id."""
    return str(page.relative_to(ROOT))
