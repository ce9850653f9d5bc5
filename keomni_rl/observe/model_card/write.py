"""From what is known to README.md: front matter that hubs read, and text for people."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from pydantic import BaseModel

from keomni_rl.config import RunConfig
from keomni_rl.config.describe import describe_method, describe_run
from keomni_rl.config.run_dir import last_name
from keomni_rl.config.schema import AnsweringConfig, PromptConfig
from keomni_rl.data.prompts import make_prompt
from keomni_rl.evaluation.shares import Share
from keomni_rl.evaluation.summary import Summary
from keomni_rl.observe.model_card.facts import CardFacts
from keomni_rl.observe.packages import package_versions
from keomni_rl.types import Question

CARD = "README.md"
TASK = "audio-text-to-text"
"""What hubs call a model that answers in text about sound and text."""
RECIPE = "recipe.yaml"
EXAMPLE = Question(
    id="example",
    question="What is heard?",
    choices=("dog", "cat"),
    answer=None,
    audio="a.wav",
)
HUB_DATASET = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
CUSTOM = "custom"
"""Version of questions that are not MMAU's."""


def write_card(folder: Path, facts: CardFacts) -> Path:
    """Write the card of a model folder; one that is there is replaced."""
    path = folder / CARD
    path.write_text(model_card(facts), encoding="utf-8", errors="replace")
    return path


def model_card(facts: CardFacts) -> str:
    """The card's whole text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("keomni_rl.observe"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters |= {
        "cell": _cell,
        "quoted": partial(json.dumps, ensure_ascii=False),
        "percent": _percent,
        "change": _change,
    }
    trained = facts.provenance
    config = trained.config
    prompt = config.prompt if config else PromptConfig()
    text = environment.get_template("model_card.md.j2").render(
        facts=facts,
        trained=trained,
        config=config,
        method=describe_method(config) if config else None,
        settings=describe_run(config) if config else [],
        recipe=recipe(config) if config else None,
        recipe_file=RECIPE,
        commands=_commands(facts),
        rows=list(_rows(trained.before, trained.after)),
        is_mmau=bool(trained.after or trained.before) and _version(facts) != CUSTOM,
        version=_version(facts),
        sampling=_sampling(trained.after or trained.before),
        prompt=prompt,
        asked=make_prompt(EXAMPLE, prompt).text,
        packages_now=package_versions(),
    )
    return str(ModelCard(f"---\n{_front_matter(facts).to_yaml()}\n---\n\n{text.strip()}\n"))


def recipe(config: RunConfig) -> str:
    """Every setting that is not as by default, as YAML that `keomni-rl train` takes.

    Files and folders are told by their names: what leads to them is of one machine.
    """
    tree = config.model_dump(mode="json", exclude_defaults=True)
    tree["run_dir"] = f"runs/{last_name(config.run_dir)}"
    if not _is_on_hub(config):
        tree["model"]["path"] = config.model.path.name
    for source in tree["data"]["train"]:
        source["file"] = Path(source["file"]).name
    if "evaluation" in tree:
        tree["evaluation"]["file"] = Path(tree["evaluation"]["file"]).name
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).rstrip()


def _is_on_hub(config: RunConfig) -> bool:
    return not config.model.path.is_absolute()


def _commands(facts: CardFacts) -> list[str]:
    """What leads from the recipe to this folder and its figures."""
    config, state = facts.provenance.config, facts.provenance.state
    name = shlex.quote(facts.name)
    began = facts.source
    if config:
        began = str(config.model.path) if _is_on_hub(config) else config.model.path.name
    base = "" if began == facts.base.name else f" --base {shlex.quote(facts.base.name)}"
    if config is None or state is None:
        source = shlex.quote(facts.source)
        return [f"keomni-rl export {source} {name} --layout {facts.layout}{base}"]
    checkpoint = shlex.quote(f"runs/{last_name(config.run_dir)}/checkpoints/{facts.source}")
    commands = [
        f"keomni-rl train {RECIPE}",
        f"keomni-rl export {checkpoint} {name} --layout {facts.layout}{base}",
    ]
    if config.evaluation:
        words = [
            "run_dir=runs/evaluated",
            f"model.path={name}",
            f"model.dtype={config.model.dtype}",
            *_words("prompt", config.prompt, PromptConfig),
            *_words("evaluation", config.evaluation, AnsweringConfig),
        ]
        commands.append(f"keomni-rl evaluate {' '.join(words)}")
    return commands


def _words(section: str, config: BaseModel, schema: type[BaseModel]) -> Iterator[str]:
    """What a section sets of a schema's keys, as words of a command line; files by their names."""
    keys = set(schema.model_fields)
    for key, value in config.model_dump(mode="json", include=keys, exclude_defaults=True).items():
        yield shlex.quote(f"{section}.{key}={Path(value).name if key == 'file' else value}")


def _rows(before: Summary | None, after: Summary | None) -> Iterator[tuple[str, Any, Any]]:
    """Task, its share before, its share after; all of them last."""
    of_before, of_after = _shares(before), _shares(after)
    for task in dict.fromkeys([*of_before, *of_after]):
        yield task, of_before.get(task), of_after.get(task)


def _shares(summary: Summary | None) -> Mapping[str, Share]:
    return {} if summary is None else {**summary.by_task, "all": summary}


def _version(facts: CardFacts) -> str | None:
    summary = facts.provenance.after or facts.provenance.before
    return summary.mmau_version if summary else None


def _sampling(summary: Summary | None) -> str:
    if summary is None or summary.temperature is None:
        return "sampling unknown"
    t = summary.temperature
    return f"sampled with temperature {t:g}" if t else "greedy"


def _front_matter(facts: CardFacts) -> ModelCardData:
    trained, base = facts.provenance, facts.base
    names = [u.dataset for u in trained.used or () if HUB_DATASET.fullmatch(u.dataset)]
    return ModelCardData(
        base_model=base.name if base.is_on_hub else None,
        datasets=list(dict.fromkeys(names)) or None,
        library_name="transformers",
        license=facts.license.id,
        license_name=facts.license.name,
        license_link=facts.license.link,
        pipeline_tag=TASK,
        tags=["audio", "keomni_rl", *([trained.config.algo.kind] if trained.config else [])],
        model_name=facts.name,
        eval_results=_results(facts) or None,
    )


def _results(facts: CardFacts) -> list[EvalResult]:
    """Accuracy of these very weights, in total and by task; of older ones nothing is claimed."""
    summary, config = facts.provenance.after, facts.provenance.config
    if summary is None or not facts.provenance.is_of_these_weights:
        return []
    is_mmau = summary.mmau_version != CUSTOM
    file = config.evaluation.file.stem if config and config.evaluation else CUSTOM
    return [
        EvalResult(
            task_type=TASK,
            task_name="Audio question answering",
            dataset_type="mmau" if is_mmau else CUSTOM,
            dataset_name=f"MMAU test-mini, {summary.mmau_version}" if is_mmau else file,
            dataset_config=task,
            metric_type="accuracy",
            metric_name=f"accuracy ({task}), percent",
            metric_value=round(100 * share.accuracy, 2),
            metric_args={
                "n": share.n,
                "interval95": [round(100 * end, 2) for end in share.interval95],
            },
        )
        for task, share in _shares(summary).items()
        if share.accuracy is not None and share.interval95 is not None
    ]


def _cell(value: object) -> str:
    """Text that was read somewhere, as a table's cell: one line that opens no HTML, no column."""
    text = " ".join(str(value).split()).replace("<", "&lt;")
    return text.replace("|", "\\|").replace("`", "'") or "-"


def _percent(share: Share | None) -> str:
    if share is None or share.accuracy is None or share.interval95 is None:
        return "-"
    low, high = share.interval95
    return f"{100 * share.accuracy:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _change(before: Share | None, after: Share | None) -> str:
    if before is None or after is None or before.accuracy is None or after.accuracy is None:
        return "-"
    return f"{100 * (after.accuracy - before.accuracy):+.1f}"
