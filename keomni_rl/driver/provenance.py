"""Where a checkpoint's weights come from: what the run's folder around it says, and what not."""

import re
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from keomni_rl.config import RunConfig, load_config
from keomni_rl.data.prompts import make_prompt
from keomni_rl.data.stream import PromptStream
from keomni_rl.driver.evaluation import read_evaluations
from keomni_rl.errors import ConfigError, DataError
from keomni_rl.observe.model_card import Provenance, Used
from keomni_rl.observe.sinks import read_lines
from keomni_rl.storage.manifest import STATE, RunState, read_state
from keomni_rl.storage.reading import CONFIG
from keomni_rl.storage.store import Store, refused

EVENTS = "events.jsonl"
SUMMARY = re.compile(r"evaluation/step_\d+/summary\.json")


def read_provenance(source: Path) -> Provenance:
    """What is known of a model's or a learner checkpoint's training.

    Args:
        source: ``checkpoints/step_NNNNNN`` in a run's folder, or a model's folder, of which
            nothing is known.

    Raises:
        DataError: a file of the run is there and is damaged.
    """
    if not (source / STATE).is_file():
        return Provenance(
            notes=(
                "How these weights were trained is not known: they came as a "
                "model, not as a checkpoint of a run.",
            )
        )
    run, state = source.resolve().parents[1], read_state(source)
    config, notes = _config(run / CONFIG)
    used = None
    if config:
        try:
            used = _used(config, state)
        except (DataError, ConfigError) as error:
            notes += (f"The questions could not be counted: {_told(error, config)}.",)
    evaluations = [e for e in read_evaluations(run) if e.policy_version is not None]
    upto = [e for e in evaluations if (e.policy_version or 0) <= state.version]
    return Provenance(
        config=config,
        state=state,
        before=next((e for e in upto if e.policy_version == 0), None),
        after=upto[-1] if upto and upto[-1].policy_version else None,
        packages=_packages(run / EVENTS, state),
        used=used,
        notes=notes,
    )


def told_of(run_url: str) -> list[str]:
    """Files of a run at a URL that `read_provenance` looks at.

    Raises:
        ConfigError: the store refuses.
    """
    try:
        names = Store(run_url).sizes()
    except OSError as error:
        raise refused(run_url, error) from error
    return [n for n in names if n in (CONFIG, EVENTS) or SUMMARY.fullmatch(n)]


def _config(path: Path) -> tuple[RunConfig | None, tuple[str, ...]]:
    if not path.is_file():
        return None, ("There was no config.yaml beside the checkpoint: the recipe is not known.",)
    try:
        return load_config(RunConfig, [str(path)]), ()
    except ConfigError:
        return None, ("The run's config.yaml is of another version: the recipe is not known.",)


def _used(config: RunConfig, state: RunState) -> tuple[Used, ...]:
    """Questions that were trained on or dropped before the checkpoint, each counted once.

    Raises:
        DataError: a file is not there any more.
        ConfigError: it holds fewer questions than it did.
    """
    stream = PromptStream(
        config.data.train,
        lambda question, _: make_prompt(question, config.prompt),
        seed=config.train.seed,
        allow_open=config.algo.kind == "supervised",
    )
    found = stream.used(chain(range(state.position), state.ahead))
    return tuple(
        Used(file=path.name, dataset=dataset, num_questions=count)
        for (path, dataset), count in found.items()
    )


def _told(error: Exception, config: RunConfig) -> str:
    """What went wrong, with files by their names: a card says nothing of a machine's folders."""
    text = str(error).splitlines()[0]
    for source in config.data.train:
        text = text.replace(str(source.file), source.file.name)
    return text


def _packages(path: Path, state: RunState) -> Mapping[str, str]:
    """Those of the newest start that came before the checkpoint; empty where none is recorded."""
    if not path.is_file():
        return {}
    starts = [line for line in read_lines(path) if _is_start_before(line, state)]
    packages = starts[-1].get("packages") if starts else None
    return packages if isinstance(packages, dict) else {}


def _is_start_before(line: Mapping[str, Any], state: RunState) -> bool:
    step = line.get("step")
    return line.get("event") == "start" and isinstance(step, int) and step < max(1, state.step)
