"""``infer`` and ``export``."""

import json
import logging
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from keomni_rl.driver.infer import Answer
    from keomni_rl.observe.model_card import License
    from keomni_rl.types import Question

LayoutName = Literal["thinker", "full"]
Dtype = Literal["float32", "bfloat16", "float16"]

QUIET = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "TRANSFORMERS_VERBOSITY": "error",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore",
    "DS_ACCELERATOR": "cpu",  # transformers loads DeepSpeed, which would ask
}
"""Environment of an engine that serves one person: what is printed is the answer."""

Model = Annotated[
    Path, typer.Option(help="Model folder in either layout, or a name on the hub.", metavar="MODEL")
]
Revision = Annotated[
    str | None, typer.Option(help="Commit, tag or branch, if the model is a name on the hub.")
]


def infer(
    model: Model,
    question: Annotated[str | None, typer.Argument(help="What is asked about the sound.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Sound file.", metavar="FILE")] = None,
    choice: Annotated[
        list[str] | None,
        typer.Option(help="An option to choose from; give it once for each. None: open question."),
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option(
            help="Ask all questions of a file in the training format; answers may be left out.",
            metavar="FILE.jsonl",
        ),
    ] = None,
    think: Annotated[
        bool, typer.Option("--think/--no-think", help="Ask for a think before the answer.")
    ] = True,
    max_new_tokens: Annotated[int, typer.Option(help="An answer is cut off here.", min=1)] = 256,
    revision: Revision = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line and nothing else.")
    ] = False,
) -> None:
    """Ask a model about a sound; think and answer are printed apart.

    Examples:
        keomni-rl infer --model exported --audio a.wav "Please describe this audio." --no-think
        keomni-rl infer --model KE-Team/Ke-Omni-R --audio a.wav "What is heard?" \\
            --choice dog --choice cat
        keomni-rl infer --model exported --questions many.jsonl --json
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("vllm").setLevel(logging.ERROR)  # until vLLM reads its environment
    import torch

    from keomni_rl.driver.infer import InferSpec, ask
    from keomni_rl.models.hub import local_model

    asked = _asked(question, audio, choice or [], questions)
    spec = InferSpec(
        model=local_model(model, revision),
        thinks=think,
        max_new_tokens=max_new_tokens,
        gpus=int(torch.cuda.is_available()),
        num_threads=os.cpu_count() or 1,
    )
    console = Console(stderr=as_json)
    show = _print_json if as_json else partial(_print, console)
    ask(spec, asked, show, console)


def _asked(
    question: str | None, audio: Path | None, choices: list[str], file: Path | None
) -> "list[Question]":
    from keomni_rl.driver.infer import read_asked
    from keomni_rl.errors import DataError
    from keomni_rl.types import Question

    if file is not None:
        if question is not None or audio is not None or choices:
            raise DataError("give either --questions or one question with --audio, not both")
        return read_asked(file)
    if question is None or audio is None:
        raise DataError('give --audio FILE and a "question", or --questions FILE.jsonl')
    if len(choices) == 1 or len(set(choices)) != len(choices):
        raise DataError(f"--choice: {choices!r}, wanted two or more different ones, or none")
    return [
        Question(
            id="1",
            question=question,
            choices=tuple(choices),
            answer=None,
            audio=str(audio.expanduser().absolute()),
        )
    ]


def _print(console: Console, answer: "Answer") -> None:
    console.print(f"\n[bold]{escape(answer.question.question)}[/bold]", soft_wrap=True)
    console.print(f"audio:  {answer.question.audio}", style="dim", markup=False, soft_wrap=True)
    if answer.think:
        console.print(f"think:  {answer.think}", markup=False, soft_wrap=True)
    console.print(f"answer: {answer.answer}", style="green", markup=False, soft_wrap=True)
    if answer.is_cut_off:
        console.print("(cut off; raise --max-new-tokens)", style="yellow")


def _print_json(answer: "Answer") -> None:
    fields = {
        "id": answer.question.id,
        "audio": answer.question.audio,
        "question": answer.question.question,
        "choices": answer.question.choices,
        "think": answer.think,
        "answer": answer.answer,
        "text": answer.text,
        "is_cut_off": answer.is_cut_off,
    }
    sys.stdout.write(json.dumps(fields, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def export(
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="A run's folder or one of its checkpoints, or the URL of either; or a model, as "
            "folder or name."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    layout: Annotated[
        LayoutName | None,
        typer.Option(
            help="thinker: as the seeds released theirs. full: as vLLM loads. "
            "By default that of the base."
        ),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(
            help="Model, as folder or hub name, that gives what the checkpoint lacks; "
            "by default the one that the run began with.",
            metavar="MODEL",
        ),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Commit, tag or branch of a base on the hub.")
    ] = None,
    dtype: Annotated[
        Dtype | None, typer.Option(help="Of the trained part; by default the base's.")
    ] = None,
    license_id: Annotated[
        str | None,
        typer.Option(
            "--license",
            help="Of the model, for its card, as the hub spells it: apache-2.0, cc-by-4.0, other.",
            metavar="ID",
        ),
    ] = None,
    license_name: Annotated[
        str | None, typer.Option(help="What a license that is `other` is called.")
    ] = None,
    license_link: Annotated[
        str | None, typer.Option(help="Where the text of a license that is `other` is.")
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(
            help="Then upload the folder to this repository of the hub, under the login of "
            "`hf auth login` or HF_TOKEN.",
            metavar="OWNER/NAME",
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="If --push makes the repository: for its owner only.")
    ] = False,
) -> None:
    """Write a checkpoint as a model folder for transformers and vLLM, with its model card.

    Examples:
        keomni-rl export runs/first exported --layout full
        keomni-rl export runs/first/checkpoints/step_000400 exported --layout thinker
        keomni-rl export s3://bucket/first/checkpoints/step_000400 exported
        keomni-rl export KE-Team/Ke-Omni-R whole --layout full --base Qwen/Qwen2.5-Omni-7B
        keomni-rl export runs/first exported --license apache-2.0 --push me/first --private
    """
    from keomni_rl.errors import ConfigError
    from keomni_rl.models.publish import check_login, publish

    if revision is not None and base is None:
        raise ConfigError("--revision is of --base; give both")
    if private and push is None:
        raise ConfigError("--private is of --push; give both")
    license = _license(license_id, license_name, license_link)
    if push is not None:
        check_login(push)
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # transformers loads DeepSpeed, which would ask
    from keomni_rl.config.run_dir import located
    from keomni_rl.config.schema import ModelConfig
    from keomni_rl.driver.export import export_model, local_source
    from keomni_rl.observe.doing import doing

    place = located(checkpoint)
    console = Console()
    with doing("writing the model", console), local_source(place) as source:
        done = export_model(
            source,
            out,
            layout=layout,
            base=ModelConfig(path=base, revision=revision) if base else None,
            dtype=dtype,
            license=license,
        )
    of = done.source if isinstance(place, Path) else f"{done.source.name} of {place}"
    console.print(
        f"wrote {done.folder}: layout {done.layout}, {done.num_bytes / 2**30:.2f} GiB, "
        f"trained weights from {of}, the rest from {done.base}",
        markup=False,
        soft_wrap=True,
    )
    if push is not None:
        with doing(f"uploading to {push}", console):
            url = publish(done.folder, push, private=private)
        console.print(f"pushed: {url}", markup=False, soft_wrap=True)


def _license(id: str | None, name: str | None, link: str | None) -> "License":
    from keomni_rl.errors import ConfigError
    from keomni_rl.observe.model_card import License

    if id is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", id):
        raise ConfigError(
            f"--license {id!r:.80}: no license as the hub spells them; give one such as "
            "apache-2.0, or other with --license-name"
        )
    if (name or link) and id != "other":
        raise ConfigError("--license-name and --license-link are of --license other; give that too")
    return License(id=id, name=name, link=link)
