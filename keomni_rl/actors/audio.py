"""The audio actors: each clip is decoded once, for every consumer on the cluster."""

import itertools
from collections.abc import Sequence
from typing import Any

from keomni_rl.actors.remote import start_helper
from keomni_rl.config.placement import HelperPlacement
from keomni_rl.data.audio import TAIL_FRAMES, load_clip, num_audio_tokens
from keomni_rl.types import Clip


class AudioActor:
    """Turns paths into clips; what it returns stays in the object store until someone needs it."""

    def __init__(self, *, max_audio_s: float, window_s: float) -> None:
        self._max_audio_s = max_audio_s
        self._window_s = window_s

    def load(self, path: str) -> tuple[Clip, int]:
        """See `keomni_rl.data.audio.load_clip`; with the number of tokens that the clip takes."""
        clip = load_clip(path, max_audio_s=self._max_audio_s, window_s=self._window_s)
        return clip, num_audio_tokens(clip.mel.shape[1] - TAIL_FRAMES)


class Clips:
    """Audio actors as the driver sees them, which work in turn."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self._actors = itertools.cycle(actors)

    async def load(self, path: str) -> tuple[Any, int]:
        """Have a clip decoded.

        Returns:
            A reference to the `Clip`, whose bytes stay where they are, and its number of tokens.

        Raises:
            RayTaskError: the clip cannot be used.
        """
        clip, num_tokens = next(self._actors).load.options(num_returns=2).remote(path)
        return clip, await num_tokens


def start_audio(place: HelperPlacement, *, max_audio_s: float, window_s: float) -> Clips:
    """Start the actors that decode, see `AudioActor`."""
    return Clips(
        [
            start_helper(AudioActor, place, max_audio_s=max_audio_s, window_s=window_s)
            for _ in range(place.actors)
        ]
    )
