"""``serve``."""

import logging
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from keomni_rl.cli.model import QUIET, Revision


def serve(
    models: Annotated[
        list[Path],
        typer.Argument(
            help="Model folder in either layout, or a name on the hub; a second one is asked "
            "the same, side by side.",
            metavar="MODEL",
        ),
    ],
    port: Annotated[int, typer.Option(help="0 takes one that is free.", min=0, max=65535)] = 0,
    host: Annotated[
        str, typer.Option(help="Address to listen on; anything but loopback lets others ask too.")
    ] = "127.0.0.1",
    max_new_tokens: Annotated[int, typer.Option(help="An answer is cut off here.", min=1)] = 256,
    max_audio_s: Annotated[
        float, typer.Option(help="Longest clip, in seconds.", min=1, max=300)
    ] = 60,
    revision: Revision = None,
) -> None:
    """Open a small web page: record or drop a clip, ask, see think and answer apart.

    Examples:
        keomni-rl serve exported
        keomni-rl serve exported Qwen/Qwen2.5-Omni-3B --port 8080
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("vllm").setLevel(logging.ERROR)  # until vLLM reads its environment
    import torch

    from keomni_rl.errors import ConfigError
    from keomni_rl.models.hub import local_model
    from keomni_rl.playground.serve import ServeSpec, names_of, run_playground
    from keomni_rl.playground.speaker import Machine

    if len(models) > 2:
        raise ConfigError(f"{len(models)} models; give one, or two to compare")
    if revision is not None and len(models) > 1:
        raise ConfigError("--revision is of one model; leave it out, or give one model")
    num_threads = max(1, (os.cpu_count() or 1) // len(models))
    run_playground(
        ServeSpec(
            models=[
                (name, local_model(path, revision))
                for name, path in zip(names_of(models), models, strict=True)
            ],
            host=host,
            port=port,
            max_audio_s=max_audio_s,
            max_new_tokens=max_new_tokens,
            machine=Machine(
                gpus=int(torch.cuda.is_available()),
                num_threads=num_threads,
                num_engines=len(models),
            ),
        ),
        Console(),
    )
