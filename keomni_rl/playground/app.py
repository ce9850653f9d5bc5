"""The playground over HTTP: its page, and the answers of its models as lines of JSON."""

import asyncio
import json
import secrets
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import asdict
from tempfile import NamedTemporaryFile
from typing import Annotated

from fastapi import FastAPI, File, Form, HTTPException, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from pydantic import StringConstraints
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from keomni_rl.data.audio import SAMPLE_RATE_HZ, load_clip
from keomni_rl.errors import DataError, EngineError
from keomni_rl.playground.guard import Guard, refusal
from keomni_rl.playground.page import render_page
from keomni_rl.playground.speaker import ANSWERS_AT_ONCE, Speaker
from keomni_rl.types import Clip, Prompt, Question

MAX_BODY_BYTES = 32 * 2**20
MAX_CHOICES = 26
Choice = Annotated[str, StringConstraints(max_length=500)]


def make_app(speakers: Sequence[Speaker], *, hosts: Sequence[str]) -> FastAPI:
    """The application.

    Args:
        speakers: models that answer, one or two.
        hosts: names that the page may be asked for under; ``*`` is any. A page elsewhere whose
            name was made to lead here (DNS rebinding) has none of these.
    """
    app = FastAPI(title="keomni_rl playground", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, max_body_bytes=MAX_BODY_BYTES)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.add_exception_handler(RequestValidationError, _tell_invalid)
    app.add_exception_handler(StarletteHTTPException, _tell_http)
    app.add_exception_handler(DataError, _tell_data)

    @app.get("/")
    async def page() -> HTMLResponse:
        """The page itself."""
        nonce = secrets.token_urlsafe(12)
        html = render_page(speakers, nonce=nonce, max_bytes=MAX_BODY_BYTES, most=MAX_CHOICES)
        return HTMLResponse(html, headers=_headers(nonce))

    @app.post("/ask/{number}")
    async def ask(
        number: int,
        clip: Annotated[UploadFile, File()],
        question: Annotated[str, Form(min_length=1, max_length=8_000)],
        choices: Annotated[list[Choice], Form(max_length=MAX_CHOICES, default_factory=list)],
        thinks: Annotated[bool, Form()] = True,
        temperature: Annotated[float, Form(ge=0, le=2)] = 0.0,
    ) -> Response:
        """One model's answer: a line for each part of it, `Speaker.answer`'s fields as JSON."""
        if not 0 <= number < len(speakers):
            raise HTTPException(404, "there is no such model here")
        speaker = speakers[number]
        if speaker.is_busy:
            raise HTTPException(
                503, f"{speaker.name} is answering {ANSWERS_AT_ONCE} questions; ask again later"
            )
        asked = _question(question, choices)
        heard = await asyncio.to_thread(_decode, clip, speaker)
        audio_s = len(heard.samples) / SAMPLE_RATE_HZ
        prompt = speaker.prompt(asked, thinks=thinks, audio_s=audio_s)
        lines = _lines(speaker, prompt, heard, temperature)
        return StreamingResponse(lines, media_type="application/x-ndjson")

    return app


def _question(question: str, choices: Sequence[str]) -> Question:
    if len(choices) == 1 or len(set(choices)) < len(choices):
        raise DataError("choices: wanted two or more different ones, or none")
    return Question(
        id="asked", question=question, choices=tuple(choices), answer=None, audio="", dataset=""
    )


def _decode(upload: UploadFile, speaker: Speaker) -> Clip:
    """What the model hears; a name that the browser sent along is not looked at.

    Raises:
        DataError: it is no sound, or too long for the model.
    """
    with NamedTemporaryFile(prefix="keomni_rl-clip-") as file:
        shutil.copyfileobj(upload.file, file)
        file.flush()
        try:
            return load_clip(file.name, max_audio_s=speaker.max_audio_s, window_s=speaker.window_s)
        except DataError as error:
            raise DataError(str(error).replace(file.name, "the clip")) from error


async def _lines(
    speaker: Speaker, prompt: Prompt, clip: Clip, temperature: float
) -> AsyncIterator[str]:
    try:
        async with aclosing(speaker.answer(prompt, clip, temperature=temperature)) as parts:
            async for said in parts:
                yield json.dumps(asdict(said)) + "\n"
    except EngineError as error:
        sentence = f"{error}; start `keomni-rl serve` again"
        yield json.dumps({"error": sentence}) + "\n"


async def _tell_invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return refusal(422, f"{where}: {first['msg']}")


async def _tell_http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    return refusal(error.status_code, error.detail)


async def _tell_data(_: Request, error: Exception) -> JSONResponse:
    return refusal(422, str(error))


def _headers(nonce: str) -> dict[str, str]:
    policy = {
        "default-src": "'none'",
        "script-src": f"'nonce-{nonce}'",
        "style-src": f"'nonce-{nonce}'",
        "img-src": "data:",
        "media-src": "blob:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
