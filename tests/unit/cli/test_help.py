"""What ``--help`` promises: examples of every command, which the command takes."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
import typer
from report_folders import right_every, write_questions, write_run
from typer.testing import CliRunner

from keomni_rl import __version__
from keomni_rl.cli.app import app

ROOT = typer.main.get_command(app)
TABLE = "Examples?:\n"


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    for inner, sub in getattr(command, "commands", {}).items():
        yield from commands(sub, f"{name} {inner}")


ALL = dict(commands(ROOT, "keomni-rl"))


def examples(command: click.Command) -> list[str]:
    _, _, text = re.sub(TABLE, "Examples:\n", command.help or "").partition("Examples:\n")
    block = re.match(r"(\s+\S.*\n?)*", text)
    joined = re.sub(r"\\?\n\s+(?!keomni-rl)", " ", block[0] if block else "")
    return [line.strip() for line in joined.splitlines() if line.strip()]


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_examples_that_it_takes(name):
    lines = examples(ALL[name])
    assert lines
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "keomni-rl"
        assert line.startswith(name)
        command, context = ROOT, None
        while isinstance(command, click.Group) and words and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        if words[:1] == ["--install-completion"]:
            continue  # it would write to the shell's own files
        with command.make_context(line, words, parent=context) as parsed:
            assert parsed.params


def test_the_version_is_told():
    assert CliRunner().invoke(app, ["--version"]).stdout == f"keomni-rl {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_without_loading_an_engine(shell):
    code = (
        "import sys\n"
        "sys.argv = ['keomni-rl']\n"
        "from keomni_rl.cli import main\n"
        "try:\n    main()\n"
        "finally:\n"
        "    assert not {'torch', 'ray', 'vllm'} & set(sys.modules)\n"
    )
    asked = {
        "COMP_WORDS": "keomni-rl wat",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "keomni-rl wat",
    }
    asked |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_KEOMNI_RL_COMPLETE": f"complete_{shell}"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | asked
    )
    assert "AssertionError" not in done.stderr
    assert "watch" in done.stdout


def test_a_report_tells_scripts_where_it_is(tmp_path):
    file = write_questions(tmp_path / "questions", 4)
    run = write_run(tmp_path / "run", file, 2, [right_every(2)])
    done = CliRunner().invoke(app, ["report", str(run), "--json"], catch_exceptions=False)
    assert json.loads(done.stdout) == {"written": [str(run / "report.html")]}
