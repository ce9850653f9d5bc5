"""Every command in README and in the pages exists, with its options, its files and its settings."""

import os
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from keomni_rl.cli.app import app
from keomni_rl.config import RunConfig, load_config
from scripts.mkdocs_hooks import commands_page
from tests.command_lines import ROOT, SCHEMAS, after_program, joined, parsed
from tests.unit.docs.pages import PAGES, README, Block, blocks, inline_code, name

SHELLS = ("bash", "console")
LANGUAGES = {*SHELLS, "python", "yaml", "json", "text"}
FOREIGN = ("ray", "pre-commit", ".")
"""Programs of others, whose words are theirs to check."""
BASES = {"train": "configs/ke_omni_r_7b.yaml", "evaluate": "configs/mmau_eval.yaml"}
"""What settings are laid over that are no whole configuration: of a run that is resumed, of a block."""


def lines(block: Block) -> list[str]:
    """Commands of a block of a shell; of a console those after its prompt."""
    found = joined(block.text)
    if block.language == "console":
        found = [line.removeprefix("$ ") for line in found if line.startswith("$ ")]
    return [line for line in found if shlex.split(line, comments=True)]


def shell_lines(page: Path) -> list[str]:
    return [line for block in blocks(page) if block.language in SHELLS for line in lines(block)]


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
        assert words[0] in get_command(app).commands, line  # named in a text
        return
    command, given = parsed(words)
    if command in SCHEMAS and given["words"]:
        resumed = [BASES[command]] if given.get("resume") else []
        load_config(SCHEMAS[command], [*resumed, *given["words"]])


def _check_script(words: list[str], line: str) -> None:
    program = words[0]
    if program in ("bash", "python"):
        assert Path(words[1]).is_file(), line
    else:
        assert program in FOREIGN, line


def test_every_block_says_what_it_is(page):
    assert {block.language for block in blocks(page)} <= LANGUAGES


def test_settings_are_ones_that_there_are(page):
    for block in blocks(page):
        if block.language == "yaml":
            Path("block.yaml").write_text(block.text)
            base = [] if "run_dir:" in block.text else [BASES["train"]]
            load_config(RunConfig, [*base, "block.yaml"])


def test_examples_in_the_help_are_commands_that_there_are(tmp_path):
    page = tmp_path / "commands.md"
    page.write_text(commands_page())
    examples = [line for b in blocks(page) if b.language == "bash" for line in lines(b)]
    assert len(examples) >= 20
    for line in examples:
        parsed(after_program(line))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("```bash\nkeomni-rl traine configs/r1_aqa.yaml\n```\n", "traine"),
        ("```bash\nkeomni-rl train configs/r1_aqa.yaml --chek\n```\n", "No such option"),
        ("```bash\nkeomni-rl train nowhere.yaml\n```\n", "no such configuration file"),
        ("```bash\nkeomni-rl train configs/r1_aqa.yaml learner.rate=1\n```\n", "unknown .*rate"),
        ("```bash\nkeomni-rl train --resume runs/a learner.rate=1\n```\n", "unknown .*rate"),
        ("```bash\nbash scripts/nowhere.sh\n```\n", "nowhere"),
        ("Type `keomni-rl train --fast`.\n", "No such option"),
    ],
)
def test_what_does_not_exist_is_found_out(text, told, tmp_path, monkeypatch):
    os.symlink(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.md").write_text(text)
    with pytest.raises(Exception, match=told):
        test_commands_are_ones_that_there_are(tmp_path / "page.md")
