"""What became of every group that a driver started: nothing may be lost or counted twice."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Account:
    """started = trained + dropped + unfinished, at the end."""

    started: int = 0
    trained: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """By reason."""
    unfinished: int = 0
    """Alive when the driver stopped; a resumed run starts them anew."""

    def undo(self, num_trained: int) -> None:
        """A learner that was lost has forgotten its steps since a checkpoint; others were alive.

        The steps may include some of a driver before this one, whose groups are in its own account.
        """
        num_trained = min(num_trained, self.trained)
        self.trained -= num_trained
        self.dropped["rolled back"] += num_trained
        self.dropped["learner lost"] += self.unfinished
        self.unfinished = 0

    def as_event(self) -> dict[str, Any]:
        """For ``events.jsonl``."""
        return asdict(self) | {"dropped": dict(self.dropped)}
