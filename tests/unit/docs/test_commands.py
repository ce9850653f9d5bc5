"""Every command in README and in the pages exists, with its options, its files and its settings."""

import os
import shlex
from pathlib import Path

import pytest

from keomni_rl.cli.app import app
from keomni_rl.config import RunConfig, load_config
from tests.command_lines import ROOT, SCHEMAS, after_program, joined, parsed
from tests.unit.docs.pages import PAGES, README, Block, blocks, inline_code, name

SHELL = ("", "bash", "console")
FOREIGN = ("ray", "git", "pip", "pre-commit", ".", "cd", "export")
"""Programs of others, whose words are theirs to check."""
BASE = "configs/ke_omni_r_7b.yaml"
"""What a YAML block that is no whole configuration is laid over."""


def lines(block: Block) -> list[str]:
    """Commands of a block of a shell; of a console those after its prompt."""
    found = joined(block.text)
    if block.language == "console":
        found = [line.removeprefix("$ ") for line in found if line.startswith("$ ")]
    return [line for line in found if shlex.split(line, comments=True)]


def shell_lines(page: Path) -> list[str]:
    return [
        line
        for block in blocks(page)
        if block.language in SHELL and not is_data(block)
        for line in lines(block)
    ]


def is_data(block: Block) -> bool:
    """A block without a language may show a file or an output."""
    first = block.text.lstrip()
    return block.language == "" and not first.startswith(("bash ", "keomni-rl ", "ray ", "python "))


def typed_inline(page: Path) -> list[str]:
    """Whole commands in running text; ``keomni-rl score`` alone only names one."""
    return [code for code in inline_code(page) if code.startswith("keomni-rl ")]


def written(page: Path, folder: Path) -> None:
    """Lay out the files that a page shows."""
    for block in blocks(page):
        if block.title:
            (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.title).write_text(block.text)


@pytest.fixture(params=[README, *PAGES], ids=name)
def page(request, tmp_path, monkeypatch) -> Path:
    """One page, in a folder that holds what it shows beside the repository's configurations."""
    for folder in ("configs", "scripts", "tests", "cluster"):
        os.symlink(ROOT / folder, tmp_path / folder)
    written(request.param, tmp_path)
    monkeypatch.chdir(tmp_path)
    return request.param


def test_commands_are_ones_that_there_are(page):
    for line in [*shell_lines(page), *typed_inline(page)]:
        words = after_program(line)
        if words is not None:
            _check_command(words, line)
        else:
            _check_script(shlex.split(line, comments=True), line)


def _check_command(words: list[str], line: str) -> None:
    if len(words) == 1 and not words[0].startswith("-"):
        assert words[0] in known_commands(), line  # named in a text
        return
    command, given = parsed(words)
    if command in SCHEMAS and given["words"] and not given.get("resume"):
        load_config(SCHEMAS[command], given["words"])


def known_commands() -> set[str]:
    from typer.main import get_command

    return set(get_command(app).commands)


def _check_script(words: list[str], line: str) -> None:
    program = words[0]
    if program in ("bash", "python"):
        assert Path(words[1]).is_file(), line
    else:
        assert program in FOREIGN, line


def test_settings_are_ones_that_there_are(page):
    for block in blocks(page):
        if block.language == "yaml":
            Path("block.yaml").write_text(block.text)
            is_whole = "run_dir:" in block.text
            load_config(RunConfig, ["block.yaml"] if is_whole else [BASE, "block.yaml"])


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("```bash\nkeomni-rl traine mine.yaml\n```\n", KeyError),
        ("```bash\nkeomni-rl train mine.yaml --chek\n```\n", Exception),
        ("```bash\nkeomni-rl train nowhere.yaml\n```\n", ValueError),
        (
            "```bash\nkeomni-rl train configs/ke_omni_r_7b.yaml learner.learning_rate=1\n```\n",
            ValueError,
        ),
        ("```bash\nbash scripts/nowhere.sh\n```\n", AssertionError),
        ("Type `keomni-rl train --fast`.\n", Exception),
    ],
)
def test_what_does_not_exist_is_found_out(text, trouble, tmp_path, monkeypatch):
    os.symlink(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.md").write_text(text)
    with pytest.raises(trouble):
        test_commands_are_ones_that_there_are(tmp_path / "page.md")
