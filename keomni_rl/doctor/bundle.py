"""A zip for a bug report: the findings, the packages, and of a run what tells how it went.

Never audio, weights or credentials; questions and completions only when they are asked for. What
goes in is read first and scrubbed then, so that a secret of one file is known for all of them.
"""

import importlib.metadata
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from keomni_rl.doctor.finding import Diagnosis
from keomni_rl.doctor.run_files import RunFiles, read_run
from keomni_rl.doctor.scrub import Scrubber
from keomni_rl.doctor.texts import KnownTexts
from keomni_rl.errors import ConfigError
from keomni_rl.storage.reading import is_taken, local_folder

Hide = Callable[[Any], Any]
"""Takes texts out of a text or a tree."""


@dataclass(frozen=True)
class Included:
    """What a bundle is to have beside the findings."""

    run: Path | str | None
    """Folder or URL of a run."""
    texts: bool
    """Questions and completions too."""


def check_bundle(bundle: Path | None, included: Included) -> None:
    """See, before anything is examined, that a bundle can be written.

    Raises:
        ConfigError: it cannot, or what it is to include is not there.
    """
    if bundle is None:
        if included.run or included.texts:
            raise ConfigError("--run and --texts are of a bundle; give --bundle FILE.zip too")
        return
    if bundle.is_dir():
        raise ConfigError(f"--bundle {bundle}: this is a folder; name a file, as report.zip")
    if not bundle.absolute().parent.is_dir():
        raise ConfigError(f"--bundle {bundle}: there is no folder {bundle.parent}; make it first")
    if included.run is None:
        if included.texts:
            raise ConfigError("--texts are those of a run; give --run RUN_DIR too")
    elif not is_taken(included.run):
        raise ConfigError(f"--run {included.run}: holds no run (no config.yaml in it)")


def write_bundle(bundle: Path, diagnosis: Diagnosis, included: Included) -> None:
    """Write the zip; until it is whole, nothing is under its name.

    Raises:
        ConfigError: the file cannot be written, or the run's store refuses.
    """
    files = RunFiles()
    if included.run is not None:
        with local_folder(included.run) as folder:
            files = read_run(folder, texts=included.texts)
    scrubber = Scrubber(os.environ, Path.home())
    scrubber.learn({"secret": [os.environ.get(name, "") for name in files.secret_variables]})
    for source in (files.config, files.events, files.metrics, files.logs, files.rollouts):
        scrubber.learn(source)
    hide = _unchanged if included.texts else KnownTexts(files.texts).hide
    report = diagnosis.model_dump(mode="json")
    partial_file = bundle.with_name(f".{bundle.name}.partial")
    try:
        with zipfile.ZipFile(partial_file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("doctor.json", json.dumps(scrubber.tree(report), indent=2))
            archive.writestr("packages.txt", "\n".join(_packages()))
            for name, content in _run_parts(files, scrubber, hide):
                archive.writestr(scrubber.text(name), content)
        partial_file.replace(bundle)
    except OSError as error:
        raise ConfigError(
            f"--bundle {bundle}: cannot be written ({error.strerror}); name another file"
        ) from error
    finally:
        partial_file.unlink(missing_ok=True)


def _run_parts(files: RunFiles, scrubber: Scrubber, hide: Hide) -> Iterator[tuple[str, str]]:
    if isinstance(files.config, str):
        yield "run/config.yaml", scrubber.text(files.config)
    elif files.config is not None:
        yield "run/config.yaml", yaml.safe_dump(scrubber.tree(files.config), sort_keys=False)
    for name, lines in (
        ("events", hide(files.events)),
        ("metrics", files.metrics),
        ("rollouts", files.rollouts),
    ):
        if lines:
            yield f"run/{name}.jsonl", _jsonl(scrubber.tree(lines))
    for name, text in files.logs.items():
        yield f"run/logs/{name}", hide(scrubber.text(text))


def _unchanged(value: Any) -> Any:
    return value


def _jsonl(lines: list[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _packages() -> list[str]:
    """As ``pip freeze``, without the addresses that packages came from."""
    found = {f"{d.metadata['Name']}=={d.version}" for d in importlib.metadata.distributions()}
    return sorted(found, key=str.lower)
