"""The audio actor: decodes each clip once, for every consumer on the cluster."""

from keomni_rl.data.audio import load_clip
from keomni_rl.types import Clip


class AudioActor:
    """Turns paths into clips; what it returns stays in the object store until someone needs it."""

    def __init__(self, *, max_audio_s: float, window_s: float) -> None:
        self._max_audio_s = max_audio_s
        self._window_s = window_s

    def load(self, path: str) -> Clip:
        """See `keomni_rl.data.audio.load_clip`."""
        return load_clip(path, max_audio_s=self._max_audio_s, window_s=self._window_s)
