"""The audio actors: each clip is decoded once, for every consumer on the cluster."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

from keomni_rl.actors.batching import Batching
from keomni_rl.actors.remote import start_helper
from keomni_rl.config.placement import HelperPlacement
from keomni_rl.data.audio import TAIL_FRAMES, load_clip, num_audio_tokens
from keomni_rl.errors import DataError


class AudioActor:
    """Turns paths into clips; what it returns stays in the object store until someone needs it."""

    def __init__(self, *, max_audio_s: float, window_s: float) -> None:
        self._max_audio_s = max_audio_s
        self._window_s = window_s

    def load(self, *paths: str) -> Any:
        """Decode clips, see `keomni_rl.data.audio.load_clip`.

        Returns:
            For each, as results of their own: the clip and the number of tokens that it takes; or
            None and the error, since one clip that cannot be used is no reason to lose the others.
        """
        found: list[Any] = []
        for path in paths:
            try:
                clip = load_clip(path, max_audio_s=self._max_audio_s, window_s=self._window_s)
                found += clip, num_audio_tokens(clip.mel.shape[1] - TAIL_FRAMES)
            except DataError as error:
                found += None, error
        return tuple(found)


class Clips:
    """Audio actors as the driver sees them, which work in turn."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self._actors = itertools.cycle(actors)
        self._loaded = Batching(self._load_all)

    async def load(self, path: str) -> tuple[Any, int]:
        """Have a clip decoded.

        Returns:
            A reference to the `Clip`, whose bytes stay where they are, and its number of tokens.

        Raises:
            DataError: the clip cannot be used.
        """
        clip, found = await self._loaded.run(path)
        if isinstance(found, DataError):
            raise found
        return clip, found

    async def _load_all(self, paths: Sequence[str]) -> list[tuple[Any, int | DataError]]:
        load = next(self._actors).load.options(num_returns=2 * len(paths))
        answers = load.remote(*paths)
        return list(zip(answers[::2], await asyncio.gather(*answers[1::2]), strict=True))


def start_audio(place: HelperPlacement, *, max_audio_s: float, window_s: float) -> Clips:
    """Start the actors that decode, see `AudioActor`."""
    return Clips(
        [
            start_helper(AudioActor, place, max_audio_s=max_audio_s, window_s=window_s)
            for _ in range(place.actors)
        ]
    )
