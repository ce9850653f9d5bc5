"""A weak teacher for the demo's warm-up: it knows the format, half of the sounds, and no more.

A base model has some skill and is confidently wrong elsewhere. The teacher imitates that: half of
the labels of each kind it mostly names right; each of the others it mostly takes for one certain
other label. What it says is thus right for about half of the questions, greedy or sampled, and
reinforcement has something to mend.
"""

import numpy as np

from keomni_rl.data.sounds import SYNTHS
from keomni_rl.types import Question

KNOWN_RIGHT = 0.9
"""Chance of the right answer where the teacher knows the label."""
CONFUSED_RIGHT, CONFUSED_WRONG = 0.2, 0.7
"""Chances of the right answer and of the confusion where it does not."""
THINKS = ("It sounds like {}.", "I hear {}.", "This is {}.", "I would say {}.")


class WeakTeacher:
    """Answers questions of the synthetic set; the same seed knows the same labels."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 7])
        self._confusions: dict[tuple[str, str], str] = {}
        for kind, synths in SYNTHS.items():
            labels = [str(label) for label in rng.permutation(list(synths))]
            # In a ring of labels every second one is taken for the next.
            for number in range(0, len(labels), 2):
                self._confusions[kind, labels[number]] = labels[(number + 1) % len(labels)]
        self._rng = np.random.default_rng([seed, 8])

    def answer(self, question: Question, *, thinks: bool = True) -> str:
        """A whole completion without the end-of-turn token."""
        label = self._choose(question)
        think = f"<think>{self._rng.choice(THINKS)}</think>".format(label) if thinks else ""
        return f"{think}<answer>{label}</answer>"

    def _choose(self, question: Question) -> str:
        right = question.answer or ""
        confusion = self._confusions.get((question.extra["kind"], right))
        draw = self._rng.random()
        if confusion in question.choices:
            if draw < CONFUSED_RIGHT:
                return right
            if draw < CONFUSED_RIGHT + CONFUSED_WRONG:
                return str(confusion)
        elif draw < KNOWN_RIGHT:
            return right
        return str(self._rng.choice(question.choices))
