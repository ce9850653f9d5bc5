"""Gives the site the page that no file holds: every command with its options, from the parser."""

import re
from textwrap import dedent

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer import Context
from typer.cli import get_docs_for_click
from typer.main import get_command

from keomni_rl.cli.app import app

INTRODUCTION = """# Commands

`keomni-rl COMMAND --help` says the same. A mistake is one message and exit code 2; `--debug` shows
the traceback.

"""
EXAMPLES = re.compile(r"^Examples?:\n((?:    .*\n?)+)", re.MULTILINE)
"""In the help of a command; indented below."""
HELP = "* `--help`: Show this message and exit.\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add reference/commands.md."""
    files.append(File.generated(config, "reference/commands.md", content=commands_page()))
    return files


def commands_page() -> str:
    """Markdown with a section for each command; its examples are a block."""
    command = get_command(app)
    text = get_docs_for_click(obj=command, ctx=Context(command), name="keomni-rl")
    sections = text[text.index("\n## ") :].replace(HELP, "")
    return INTRODUCTION + EXAMPLES.sub(
        lambda found: f"```bash\n{dedent(found[1]).rstrip()}\n```\n", sections
    )
