"""The reference actor: log-probabilities under the policy that training started from."""

from collections.abc import Sequence

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

    def score(self, groups: Sequence[Group], *clips: Clip) -> list[tuple[FloatArray, ...]]:
        """See `ReferenceEngine.score`; clips come one by one so that Ray resolves them."""
        return [self._engine.score(*pair) for pair in zip(groups, clips, strict=True)]
