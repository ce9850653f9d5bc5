"""The endless, seeded stream of prompts from one file or a mixture; its state is one number.

Position i gives the same prompt whenever it is asked, so a checkpoint keeps a position and nothing
else. Files without weights are one deck that is dealt anew every epoch. Files with weights are a
deck each: every `BLOCK` prompts hold each file in its share, in a seeded order.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from keomni_rl.config.schema import Source
from keomni_rl.data.questions import QuestionFile
from keomni_rl.errors import ConfigError
from keomni_rl.types import Prompt, Question

BLOCK = 1000
"""Prompts over which the shares of a weighted mixture hold exactly."""
Card = tuple[int, int]
"""A file's number and the index of one of its questions."""


class PromptStream:
    """Prompts by position, from 0, without end.

    Args:
        sources: what of each file is used.
        render: makes a question of a source a prompt.
        seed: of samples, order and mixture.
        allow_open: see `QuestionFile`.

    Raises:
        DataError: a file cannot be read.
        ConfigError: a count is larger than its file, or a weight too small to be dealt.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        render: Callable[[Question, Source], Prompt],
        *,
        seed: int,
        allow_open: bool = False,
    ) -> None:
        self._sources = sources
        self._files = [QuestionFile(source.file, allow_open=allow_open) for source in sources]
        self._render = render
        self._seed = seed
        self._chosen = [self._choose(number) for number in range(len(sources))]
        self._starts = np.cumsum([0, *map(len, self._chosen)])
        self._per_block = _shares(sources)
        sizes = [self.num_questions] if self._per_block is None else map(len, self._chosen)
        self._decks = [_Deck(size, [seed, 1, number]) for number, size in enumerate(sizes)]
        self._block = -1
        self._order = np.empty(0, np.int64)

    @property
    def num_questions(self) -> int:
        """Questions in use, over all files."""
        return int(self._starts[-1])

    def rendered(self, number: int) -> Prompt:
        """The question in use number ``number``, file after file: for looking at all of them."""
        file, index = self._card(number)
        return self._render(self._files[file][index], self._sources[file])

    def texts(self) -> Iterator[tuple[int, str]]:
        """Number and text of every prompt in use; its sound is not looked for.

        Raises:
            DataError: a question cannot be rendered.
        """
        for file, questions in enumerate(self._files):
            numbers = np.full(len(questions), -1)
            numbers[self._chosen[file]] = np.arange(self._starts[file], self._starts[file + 1])
            for number, question in zip(numbers.tolist(), questions.wordings(), strict=True):
                if number >= 0:
                    yield number, self._render(question, self._sources[file]).text

    def _card(self, number: int) -> Card:
        file = int(np.searchsorted(self._starts, number, side="right")) - 1
        return file, int(self._chosen[file][number - self._starts[file]])

    def __getitem__(self, position: int) -> Prompt:
        """The prompt at a position."""
        file, index = self._deal(position)
        return self._render(self._files[file][index], self._sources[file])

    def used(self, positions: Iterable[int]) -> Counter[tuple[Path, str]]:
        """How many different questions the prompts at some positions are of.

        Returns:
            By file and by the data set that the question names; "" is none.
        """
        found: Counter[tuple[Path, str]] = Counter()
        cards = {self._deal(position) for position in positions}
        for path in dict.fromkeys(source.file for source in self._sources):
            numbers = [n for n, source in enumerate(self._sources) if source.file == path]
            indices = sorted({index for number, index in cards if number in numbers})
            for dataset in self._files[numbers[0]].datasets_of(indices):
                found[path, dataset] += 1
        return found

    def _deal(self, position: int) -> Card:
        if self._per_block is None:
            return self._card(self._decks[0][position])
        block, offset = divmod(position, BLOCK)
        if block != self._block:
            files = np.repeat(np.arange(len(self._files)), self._per_block)
            self._order = np.random.default_rng([self._seed, 2, block]).permutation(files)
            self._block = block
        file = int(self._order[offset])
        before = int(np.count_nonzero(self._order[:offset] == file))
        dealt = self._decks[file][block * int(self._per_block[file]) + before]
        return file, int(self._chosen[file][dealt])

    def _choose(self, number: int) -> np.ndarray:
        count, size = self._sources[number].count, len(self._files[number])
        if count is None:
            return np.arange(size)
        if count > size:
            raise ConfigError(
                f"data.train: count {count} of {self._sources[number].file}, which holds {size} "
                "questions; lower it or remove it"
            )
        return np.random.default_rng([self._seed, 0, number]).choice(size, count, replace=False)


class _Deck:
    """The numbers below ``size`` in a seeded order of their own for every epoch."""

    def __init__(self, size: int, seed: list[int]) -> None:
        self._size = size
        self._seed = seed
        self._epoch = -1
        self._order = np.empty(0, np.int64)

    def __getitem__(self, position: int) -> int:
        epoch, offset = divmod(position, self._size)
        if epoch != self._epoch:
            self._order = np.random.default_rng([*self._seed, epoch]).permutation(self._size)
            self._epoch = epoch
        return int(self._order[offset])


def _shares(sources: Sequence[Source]) -> np.ndarray | None:
    """Prompts of each file in a block: whole numbers by largest remainder; None without weights."""
    if sources[0].weight is None:
        return None
    weights = np.asarray([source.weight for source in sources], np.float64)
    exact = BLOCK * weights / weights.sum()
    shares = np.floor(exact).astype(np.int64)
    missing = BLOCK - int(shares.sum())
    shares[np.argsort(shares - exact, kind="stable")[:missing]] += 1
    if not shares.all():
        small = sources[int(np.argmin(shares))]
        raise ConfigError(
            f"data.train: weight {small.weight:g} of {small.file} is under one prompt in {BLOCK}; "
            "raise it or leave the file out"
        )
    return shares
