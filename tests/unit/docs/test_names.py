"""Dials, metrics, files and public names that the documentation speaks of are those of the code."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.main import get_command

import keomni_rl
from keomni_rl.cli.app import app
from keomni_rl.config import EvaluateConfig, RunConfig
from tests.command_lines import ROOT
from tests.unit.docs.pages import DOCS, PAGES, README, inline_code, name

TUNING, API, NEVER_RUN = DOCS / "tuning.md", DOCS / "api.md", DOCS / "never_run.md"
PACKAGE = ROOT / "keomni_rl"
WRITERS = (
    "algorithms/loss.py",
    "driver/group_metrics.py",
    "driver/journey.py",
    "driver/loop.py",
    "driver/evaluation.py",
    "engines/learner.py",
)
"""Where a step's metrics are given their names."""
SECTIONS = {*RunConfig.model_fields, *EvaluateConfig.model_fields}
ATTRIBUTES = {"prompt.question", "prompt.question.extra", "model.generate"}
"""Of objects in Python; they only look like dials."""
METRIC = r"[a-z_]+/[a-z0-9_]+"


def dials(schema: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key, and every section, of a configuration."""
    for key, field in schema.model_fields.items():
        yield prefix + key
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from dials(kind, f"{prefix}{key}.")


KNOWN_DIALS = {*dials(RunConfig), *dials(EvaluateConfig)}


@pytest.mark.parametrize("page", [README, *PAGES], ids=name)
def test_a_dial_that_is_named_exists(page):
    named = [re.fullmatch(r"([a-z_]+(?:\.[a-z_]+)+)([:= ].*)?", code) for code in inline_code(page)]
    keys = {found[1] for found in named if found and found[1].split(".")[0] in SECTIONS}
    files = {key for key in keys if key.endswith((".yaml", ".py", ".jsonl"))}
    assert keys - files - ATTRIBUTES <= KNOWN_DIALS


def metrics_written() -> set[str]:
    """Patterns of the names that the code gives to metrics; what varies in a name is any word."""
    found = set()
    for file in WRITERS:
        for node in ast.walk(ast.parse((PACKAGE / file).read_text())):
            text = _text(node)
            if text and re.fullmatch(METRIC.replace("[a-z0-9_]+", r"[a-z0-9_\\]+\+?[a-z_]*"), text):
                found.add(re.sub("_sum$", "_mean", text))
    return found


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [p.value if isinstance(p, ast.Constant) else r"\w+" for p in node.values]
        return "".join(map(str, parts))
    return None


def metrics_named() -> set[str]:
    areas = {pattern.split("/")[0] for pattern in metrics_written()}
    codes = [code for code in inline_code(TUNING) if re.fullmatch(METRIC, code)]
    return {code for code in codes if code.split("/")[0] in areas}


def test_a_metric_that_is_named_is_written():
    named, written = metrics_named(), metrics_written()
    assert len(named) > 30
    assert {n for n in named if not any(re.fullmatch(w, n) for w in written)} == set()


def test_a_metric_that_is_written_is_named():
    named = metrics_named()
    assert {w for w in metrics_written() if not any(re.fullmatch(w, n) for n in named)} == set()


def python_names() -> list[str]:
    return [code for code in inline_code(API) if re.fullmatch(r"keomni_rl(\.\w+)+", code)]


@pytest.mark.parametrize("dotted", python_names())
def test_a_public_name_can_be_imported(dotted):
    module, _, attribute = dotted.rpartition(".")
    assert hasattr(importlib.import_module(module), attribute)


def test_the_public_api_lists_every_command_and_section():
    named = inline_code(API)
    assert {c.removeprefix("keomni-rl ") for c in named if c.startswith("keomni-rl ")} == {
        *get_command(app).commands
    }
    prepared = get_command(app).commands["prepare"].commands
    assert {*prepared, *SECTIONS} <= {*named}


def test_what_users_can_mend_is_stable():
    stable = API.read_text().partition("## Open")[0]
    for error in keomni_rl.errors.USER_ERRORS:
        assert f"`keomni_rl.errors.{error.__name__}`" in stable


def test_releases_begin_with_this_version():
    heads = re.findall(r"^## (.*)$", (DOCS / "releases.md").read_text(), re.MULTILINE)
    assert heads[0].split()[0] == keomni_rl.__version__


@pytest.mark.parametrize("page", [README, *PAGES], ids=name)
def test_files_that_are_named_are_there(page):
    """Paths of the repository; what a run or a reader makes begins with another folder."""
    begins = ("configs/", "scripts/", "tests/", "cluster/", "keomni_rl/")
    codes = [code.split(",")[0] for code in inline_code(page)]
    paths = [code for code in codes if code.startswith(begins) and re.fullmatch(r"[\w./-]+", code)]
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_what_was_never_run_names_code_that_there_is():
    paths = [
        code for code in inline_code(NEVER_RUN) if re.fullmatch(r"[a-z_]+/([a-z_]+\.py)?", code)
    ]
    assert len(paths) > 5
    assert [path for path in paths if not any((b / path).exists() for b in (ROOT, PACKAGE))] == []


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README.read_text())
    assert len(links) > 8
    assert [link for link in links if not (README.parent / Path(link)).exists()] == []
