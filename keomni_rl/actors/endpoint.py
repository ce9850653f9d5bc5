"""The evaluator actor for a model that somebody else serves, behind an OpenAI-compatible API.

The same calls as an evaluator with an engine, so that the same pool drives both. Audio goes as
base64 of a 16 kHz WAV file. The client library repeats a request that was refused for load or
broke off, with growing pauses or those that the server asks for.
"""

import base64
import io
import os
from typing import Any

import soundfile
from pydantic import SecretStr

from keomni_rl.actors.prediction import prediction_of
from keomni_rl.config.schema import EndpointConfig
from keomni_rl.data.audio import SAMPLE_RATE_HZ
from keomni_rl.engines.specs import Sampling
from keomni_rl.errors import EngineError
from keomni_rl.types import Clip, GroupKey, Prediction, Prompt

NO_KEY = "none"
"""Sent where no key is set: servers of one's own ask for none."""


def read_key(config: EndpointConfig) -> SecretStr:
    """The API's key from this process's environment; the driver reads it for every evaluator."""
    return SecretStr(os.environ.get(config.api_key_env, "").strip() or NO_KEY)


class EndpointActor:
    """Answers evaluation questions through an API.

    Args:
        config: where the API is, and how it is asked.
        key: of the API; it is never shown.
    """

    def __init__(self, config: EndpointConfig, key: SecretStr) -> None:
        import aiolimiter
        import openai

        self._config = config
        self._key = key
        self._client = openai.AsyncOpenAI(
            base_url=config.url,
            api_key=key.get_secret_value(),
            timeout=config.timeout_s,
            max_retries=config.max_attempts - 1,
        )
        self._limit = (
            aiolimiter.AsyncLimiter(config.requests_per_minute, 60)
            if config.requests_per_minute
            else None
        )

    async def ready(self) -> None:
        """Ask the server which models it has.

        Raises:
            EngineError: it does not answer, or knows no such model.
        """
        import openai

        try:
            names = [model.id async for model in self._client.models.list()]
        except openai.OpenAIError as error:
            raise EngineError(
                f"{self._config.url}: no answer to a list of models ({self._told(error)}); check "
                f"endpoint.url and the key in {self._config.api_key_env}"
            ) from None
        if self._config.model not in names:
            raise EngineError(
                f"{self._config.url}: serves no model {self._config.model!r}, it has "
                f"{', '.join(names) or 'none'}; correct endpoint.model"
            )

    async def answer(
        self,
        key: GroupKey,  # noqa: ARG002 - as every evaluator
        prompt: Prompt,
        clip: Clip,
        sampling: Sampling,
    ) -> Prediction:
        """The model's answers to one question.

        Raises:
            EngineError: the server refused the request, or failed at every attempt.
        """
        import openai

        if self._limit:
            await self._limit.acquire()
        try:
            reply = await self._client.chat.completions.create(
                model=self._config.model,
                messages=[{"role": "user", "content": _content(prompt, clip)}],
                n=sampling.num_completions,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_new_tokens,
                seed=sampling.seed,
                extra_body={"top_k": sampling.top_k} if sampling.top_k else None,
            )
        except openai.OpenAIError as error:
            raise EngineError(f"{self._config.url}: {self._told(error)}") from None
        return prediction_of(
            prompt.id,
            [choice.message.content or "" for choice in reply.choices],
            finish_reason=reply.choices[0].finish_reason,
            num_tokens=reply.usage.completion_tokens if reply.usage else 0,
        )

    def _told(self, error: Exception) -> str:
        """What went wrong, without the key, which some servers repeat."""
        key = self._key.get_secret_value()
        return str(error) if key == NO_KEY else str(error).replace(key, "***")

    async def shutdown(self) -> None:
        """Close the connections."""
        await self._client.close()


def _content(prompt: Prompt, clip: Clip) -> Any:
    """One user turn: the clip, then the text, as every family's template has them."""
    file = io.BytesIO()
    soundfile.write(file, clip.samples, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    data = base64.b64encode(file.getvalue()).decode()
    return [
        {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}},
        {"type": "text", "text": prompt.text},
    ]
