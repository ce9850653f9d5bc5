"""Gives the site the page that no file holds: every command with its options, from the parser."""

import re
from textwrap import dedent

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer import Context
from typer.cli import get_docs_for_click
from typer.main import get_command

from keomni_rl.cli.app import app

EXAMPLES = re.compile(r"^Examples?:\n((?:    .*\n?)+)", re.MULTILINE)
"""In the help of a command; indented below."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add reference/commands.md."""
    files.append(File.generated(config, "reference/commands.md", content=_commands()))
    return files


def _commands() -> str:
    command = get_command(app)
    text = get_docs_for_click(obj=command, ctx=Context(command), name="keomni-rl", title="Commands")
    return EXAMPLES.sub(lambda found: f"```bash\n{dedent(found[1]).rstrip()}\n```\n", text)
