"""``keomni-rl serve``: engines and the web server, from start to an orderly end."""

import asyncio
import ipaddress
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from rich.console import Console

from keomni_rl.errors import ConfigError
from keomni_rl.playground.app import make_app
from keomni_rl.playground.speaker import Machine, Speaker

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
MAX_CONNECTIONS = 64
LAST_WORDS_S = 2
"""How long answers under way may go on when the server is told to leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSpec:
    """What is served where."""

    models: Sequence[tuple[str, Path]]
    """Names and folders, one or two."""
    host: str
    port: int
    """0 takes one that is free."""
    max_audio_s: float
    max_new_tokens: int
    machine: Machine


def names_of(models: Sequence[Path]) -> list[str]:
    """What to call models by: as on the hub, or as their folders, or by whole paths if need be."""
    names = [path.resolve().name if path.is_dir() else path.as_posix() for path in models]
    if len(set(names)) == len(names):
        return names
    return [f"{path} ({number})" for number, path in enumerate(models, start=1)]


def run_playground(spec: ServeSpec, console: Console) -> None:
    """Serve until interrupted (Ctrl-C) or told to stop (SIGTERM); the engines end with it.

    Raises:
        CheckpointError: a model is of no known family.
        ConfigError: the address cannot be had, or vLLM does not start.
        SystemExit: told to stop.
    """
    signal.signal(signal.SIGTERM, _leave)
    with _bound(spec.host, spec.port) as door:
        asyncio.run(_serve(spec, door, console))


async def _serve(spec: ServeSpec, door: socket.socket, console: Console) -> None:
    speakers = [
        Speaker(name, folder, max_audio_s=spec.max_audio_s, max_new_tokens=spec.max_new_tokens)
        for name, folder in spec.models
    ]
    is_local = _is_loopback(spec.host)
    app = make_app(speakers, hosts=LOOPBACK_NAMES if is_local else ["*"])
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=LAST_WORDS_S,
        )
    )
    with ExitStack() as running, tempfile.TemporaryFile("a+b") as printed:
        for speaker in speakers:
            running.callback(speaker.shutdown)
            where = "a GPU" if spec.machine.gpus else "the CPU"
            console.print(f"starting vLLM on {where} for {speaker.name}", style="dim", markup=False)
            speaker.start(spec.machine, printed)
        door.listen()
        if not is_local:
            console.print(
                f"{spec.host} is not loopback: whoever reaches it may ask, without a password",
                style="yellow",
            )
        console.print(f"playground: {_url(door)} (Ctrl-C ends it)", soft_wrap=True)
        await server.serve(sockets=[door])


def _bound(host: str, port: int) -> socket.socket:
    try:
        (family, kind, *_, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        door = socket.socket(family, kind)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(address)
    except OSError as error:
        raise ConfigError(
            f"--host {host} --port {port}: cannot be had ({error.strerror}); give another port, or "
            "0 for one that is free"
        ) from error
    return door


def _url(door: socket.socket) -> str:
    host, port = door.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _leave(number: int, _: FrameType | None) -> None:
    """End as by the signal, but with what is running put in order first."""
    sys.exit(128 + number)
