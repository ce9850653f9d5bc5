"""Command lines as they stand in documents, held against the command line's own parser."""

import re
import shlex
from pathlib import Path
from typing import Any

from typer.main import get_command

from keomni_rl.cli.app import app
from keomni_rl.config import EvaluateConfig, RunConfig

ROOT = Path(__file__).parents[1]
SCHEMAS = {"train": RunConfig, "evaluate": EvaluateConfig, "plan": RunConfig}
"""Commands whose words are a configuration."""


def joined(text: str) -> list[str]:
    """The lines of a text, those that a backslash continues made one."""
    return re.sub(r"\\\n[#\s]*", " ", text).splitlines()


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The command that the words after ``keomni-rl`` name and the values of its parameters.

    Options of no command, such as ``--install-completion``, are those of ``keomni-rl`` itself.
    """
    command = get_command(app)
    while hasattr(command, "commands"):
        if words[0].startswith("-"):
            [option] = [p for p in command.params if words[0] in p.opts]
            return command.name, {option.name: words[1:]}
        command, words = command.commands[words[0]], words[1:]
    return command.name, command.make_context(command.name, list(words)).params


def after_program(line: str) -> list[str] | None:
    """The words that a line gives to ``keomni-rl``, through ``ray job submit`` too; None if none."""
    words = shlex.split(line, comments=True)
    if "--" in words and words[:3] == ["ray", "job", "submit"]:
        words = words[words.index("--") + 1 :]
    return words[1:] if words[:1] == ["keomni-rl"] else None
