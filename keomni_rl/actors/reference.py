"""The reference actor: log-probabilities under the policy that training started from."""

from keomni_rl.engines.specs import ReferenceSpec
from keomni_rl.types import Clip, FloatArray, Group


class ReferenceActor:
    """Scores tokens; exists only while beta is above 0."""

    def __init__(self, spec: ReferenceSpec) -> None:
        from keomni_rl.engines.reference import ReferenceEngine

        self._engine = ReferenceEngine(spec)

    def ready(self) -> None:
        """Answer once the model is loaded."""

    def shutdown(self) -> None:
        """Nothing to end."""

    def score(self, group: Group, clip: Clip) -> tuple[FloatArray, ...]:
        """See `ReferenceEngine.score`."""
        return self._engine.score(group, clip)
