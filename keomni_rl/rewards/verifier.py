"""math_verify in a process of its own, which is killed when an expression takes too long.

math_verify reads numbers and formulas out of texts and asks sympy whether they are equal. An
expression like 9^9^9^9 keeps sympy busy for ever, inside one call that no signal interrupts, and
signals reach the main thread alone; so its own time limits are off and the process is the limit.
"""

import logging
import resource
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

from pebble import ProcessExpired

from keomni_rl.errors import RewardError
from keomni_rl.rewards.child import Child

log = logging.getLogger(__name__)
Pair = tuple[str, str]
"""Gold and target, the order that math_verify takes them in; its verdict is not symmetric."""
Judge = Callable[[str, str], bool]

DEADLINE_S = 5.0
"""For one pair; the limit that math_verify's own functions have where signals work."""
STARTUP_S = 120.0
"""For a process to import sympy on a slow disk."""
MEMORY_BYTES = 2 * 2**30
"""What a power tower may fill before Python refuses it more."""
NUM_REMEMBERED = 10_000
"""Verdicts that are kept; a policy repeats itself."""
NUM_TRIES = 2
"""With one call, where the process ends without having been asked anything."""


def are_equal(gold: str, target: str) -> bool:
    """Whether math_verify, as it comes, finds the two texts mathematically equal."""
    from math_verify import parse, verify

    return verify(
        parse(gold, parsing_timeout=None),
        parse(target, parsing_timeout=None),
        timeout_seconds=None,
    )


class MathVerifier:
    """Asks math_verify, and takes no answer in time for a no.

    The process starts with the first question. Works in any thread, in one at a time.

    Args:
        deadline_s: seconds for one pair, the start of the process not counted.
        judge: what the process runs on a pair; importable by name.
    """

    def __init__(self, *, deadline_s: float = DEADLINE_S, judge: Judge = are_equal) -> None:
        self._deadline_s = deadline_s
        self._judge = judge
        self._child = Child(_prepare, startup_s=STARTUP_S)
        self._known: dict[Pair, bool] = {}
        self._counts = Counter(timeouts=0, crashes=0, errors=0)

    @property
    def counts(self) -> dict[str, int]:
        """Pairs without a verdict so far: cut off, lost with their process, or failed in sympy."""
        return dict(self._counts)

    def verify(self, pairs: Sequence[Pair]) -> list[bool]:
        """Say for each pair (gold, target) whether it is equal; all are under way at once.

        Raises:
            RewardError: no process can be kept alive, whatever it is asked.
        """
        known = {pair: self._known[pair] for pair in pairs if pair in self._known}
        known |= self._ask([pair for pair in dict.fromkeys(pairs) if pair not in known])
        self._remember(known)
        return [known[pair] for pair in pairs]

    def close(self) -> None:
        """End the process."""
        self._child.close()

    def _remember(self, verdicts: dict[Pair, bool]) -> None:
        self._known |= verdicts
        num_over = max(0, len(self._known) - NUM_REMEMBERED)
        for pair in list(islice(self._known, num_over)):  # the oldest
            del self._known[pair]

    def _ask(self, pairs: Sequence[Pair]) -> dict[Pair, bool]:
        futures = self._run(pairs)
        return {p: self._verdict(p, future) for p, future in zip(pairs, futures, strict=True)}

    def _run(self, pairs: Sequence[Pair], *, num_tries: int = NUM_TRIES) -> "list[Future[bool]]":
        try:
            return self._child.run(self._judge, pairs, deadline_s=self._deadline_s)
        except BrokenProcessPool as error:
            if num_tries == 1:
                raise RewardError(
                    f"math_verify's process ended {NUM_TRIES} times before it answered ({error}); "
                    "try `python -c 'import math_verify'` on this machine, or set reward.compat "
                    "and reward.math_verify to false"
                ) from error
            log.warning("math_verify's process ended between questions (%s); a new one", error)
        return self._run(pairs, num_tries=num_tries - 1)

    def _verdict(self, pair: Pair, future: "Future[bool]") -> bool:
        error = future.exception()
        if error is None:
            return bool(future.result())
        if isinstance(error, TimeoutError):
            kind, what = "timeouts", f"took more than {self._deadline_s:g} s"
        elif isinstance(error, ProcessExpired):
            kind, what = "crashes", f"lost its process ({error})"
        else:
            kind, what = "errors", f"raised {error!r}"
        self._counts[kind] += 1
        log.warning(
            "math_verify %s on %.200r against %.200r, which counts as not equal (%s so far: %d)",
            *(what, *pair, kind, self._counts[kind]),
        )
        return False


def _prepare() -> None:
    """Limit a process's memory and import sympy, before the first deadline runs."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    is_free = hard == resource.RLIM_INFINITY
    soft = MEMORY_BYTES if is_free else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    # It warns that its time limits are off.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    import math_verify  # noqa: F401
