"""The endless, seeded stream of prompts; its whole state is one number."""

from collections.abc import Callable

import numpy as np

from keomni_rl.data.questions import QuestionSet
from keomni_rl.types import Prompt, Question


class PromptStream:
    """Prompts by position: epoch after epoch, each a permutation of its own.

    Position i gives the same prompt whenever it is asked, so a checkpoint keeps a position and
    nothing else.
    """

    def __init__(
        self,
        questions: QuestionSet,
        render: Callable[[Question], Prompt],
        *,
        seed: int,
        sample: int | None = None,
    ) -> None:
        self._questions = questions
        self._render = render
        self._seed = seed
        generator = np.random.default_rng([seed, 0])
        self._indices = np.arange(len(questions))
        if sample is not None and sample < len(questions):
            self._indices = generator.choice(len(questions), sample, replace=False)
        self._epoch = -1
        self._order = self._indices

    @property
    def epoch_length(self) -> int:
        """Prompts before the first one comes again."""
        return len(self._indices)

    def __getitem__(self, position: int) -> Prompt:
        """The prompt at a position, from 0, without end."""
        epoch, offset = divmod(position, len(self._indices))
        if epoch != self._epoch:
            order = np.random.default_rng([self._seed, 1, epoch]).permutation(len(self._indices))
            self._order, self._epoch = self._indices[order], epoch
        return self._render(self._questions[int(self._order[offset])])
