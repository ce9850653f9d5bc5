"""The pages' code runs: files are written, Python is executed, consoles are typed, in order."""

import runpy
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keomni_rl.cli.app import app
from keomni_rl.models import family
from tests.command_lines import joined
from tests.unit.docs.pages import PAGES, Block, blocks, name
from tests.unit.docs.world import make_world

RUN = ("python", "console")
WITH_CODE = [page for page in PAGES if any(b.language in RUN for b in blocks(page))]


@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_a_page_runs(page, tmp_path, monkeypatch):
    make_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setitem(family.FAMILIES, "beep_audio", "")  # what a page adds is taken out again
    names: dict = {}
    for block in blocks(page):
        run(block, names)


def run(block: Block, names: dict) -> None:
    if block.title:
        Path(block.title).write_text(block.text)
    elif block.language == "python":
        exec(compile("\n" * block.line + block.text, str(block.page), "exec"), names)
    elif block.language == "console":
        for command, told in sessions(block):
            said = " ".join(typed(command, block).split())
            for line in told:
                assert " ".join(line.split()) in said, f"{block}: {command}\n{said}"


def sessions(block: Block) -> list[tuple[str, list[str]]]:
    """Each command of a console with the lines that are shown under it; ``...`` leaves some out."""
    found: list[tuple[str, list[str]]] = []
    for line in joined(block.text):
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        elif line.strip() not in ("", "..."):
            found[-1][1].append(line)
    return found


def typed(command: str, block: Block) -> str:
    words = shlex.split(command, comments=True)
    if words[0] == "python":
        runpy.run_path(words[1], run_name="__main__")
        return ""
    assert words[0] == "keomni-rl", f"{block}: {command}"
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, f"{block}: {command}\n{done.output}\n{done.exception!r}"
    return done.output


def test_a_console_that_shows_what_is_not_said_is_found_out(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```console\n$ keomni-rl --help\nBakes bread.\n```\n")
    with pytest.raises(AssertionError, match="keomni-rl --help"):
        run(blocks(page)[0], {})
