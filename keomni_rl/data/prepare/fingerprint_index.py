"""Which clips of a set a fingerprint occurs in: landmarks vote for a clip and an offset.

Landmarks of one recording agree on *when* it begins in the other; those of two recordings agree
by chance only, and on no common offset. By chance one offset of two clips of ten seconds gets 0.08
votes (1,500 landmarks against 3,000, spread as if evenly over 90,000 hashes), so that `MIN_VOTES`
would never come together. What limits the method is likeness. Of 250,000 pairs of different
generated clips of ten seconds (music, speech, noise, tones) 804 had `MIN_VOTES`, and 2 also had
`MIN_SHARE`, both of them music of one tempo and key begun on the same beat; different recordings
among 99 real clips had neither. Of 180,000 pairs of clips of one second 10 matched, held vowels of
one pitch. Copies keep 0.1 (noise through the poorest MP3) to 0.9 (resampled) of their landmarks.
Source: Wang 2003, "An Industrial-Strength Audio Search Algorithm", section 2.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keomni_rl.data.audio import SAMPLE_RATE_HZ
from keomni_rl.data.prepare.fingerprint import HOP, NUM_HASHES, NUM_PHASES, Fingerprint

MIN_VOTES = 20
"""Different hashes that agree on an offset."""
MIN_SHARE = 0.06
"""Of the landmarks that two clips could have in common."""
ENOUGH = 600
"""Landmarks that a share is taken of at the least: four seconds."""
MAX_ENTRIES = 4_000_000
_HASH_BITS, _OFFSET_BITS = 20, 25
"""Of one vote's number; what is left is the clip's."""
_ZERO = 1 << (_OFFSET_BITS - 1)
"""Stands for no offset: 74 hours either way."""


@dataclass(frozen=True, slots=True)
class Match:
    """Where a clip occurs in one of the index."""

    clip: int
    """Its number in the index."""
    num_hashes: int
    """Different hashes that agree on the offset."""
    share: float
    """Of the landmarks that the two could have in common."""
    offset_s: float
    """When the clip asked for begins within that of the index; negative if it begins earlier."""


class FingerprintIndex:
    """The landmarks of many clips, by hash."""

    def __init__(self, clips: Sequence[Fingerprint]) -> None:
        self._clips = clips
        hashes = np.concatenate([np.zeros(0, np.int32), *(clip.hashes for clip in clips)])
        owners = np.repeat(np.arange(len(clips), dtype=np.int32), [len(clip) for clip in clips])
        frames = np.concatenate([np.zeros(0, np.int32), *(clip.frames for clip in clips)])
        order = np.argsort(hashes, kind="stable")
        self._owners, self._frames = owners[order], frames[order]
        self._starts = np.searchsorted(hashes[order], np.arange(NUM_HASHES + 1))

    def __len__(self) -> int:
        """Clips."""
        return len(self._clips)

    def find(self, asked: Fingerprint) -> list[Match]:
        """The clips that share a recording with the one asked for, the surest first."""
        votes = self._votes(asked)
        places = votes >> _HASH_BITS
        starts = np.flatnonzero(np.diff(places, prepend=-1))
        counts = np.diff(starts, append=len(votes))
        # A recording's offset is no whole number of frames: neighbouring offsets vote together.
        is_next = np.diff(places[starts]) == 1
        counts[:-1] += is_next * counts[1:]
        best: dict[int, Match] = {}
        for place in np.flatnonzero(counts >= MIN_VOTES):
            agreeing = votes[starts[place] : starts[place] + counts[place]]
            match = self._judge(asked, int(places[starts[place]]), agreeing)
            if match.share >= MIN_SHARE and match.num_hashes >= MIN_VOTES:
                best[match.clip] = max(match, best.get(match.clip, match), key=_num_hashes)
        return sorted(best.values(), key=_num_hashes, reverse=True)

    def _votes(self, asked: Fingerprint) -> NDArray[np.int64]:
        """Clip, offset and hash of every equal pair of landmarks, each as one number, sorted."""
        landmarks, entries = self._equal_hashes(asked)
        votes = self._owners[entries].astype(np.int64) << _OFFSET_BITS
        votes += self._frames[entries] - asked.frames[landmarks] + _ZERO
        votes <<= _HASH_BITS
        votes += asked.hashes[landmarks]
        votes.sort()
        return votes

    def _judge(self, asked: Fingerprint, place: int, votes: NDArray[np.int64]) -> Match:
        clip, moved = divmod(place, 1 << _OFFSET_BITS)
        num_hashes = len(np.unique(votes % (1 << _HASH_BITS)))
        share = min(1.0, num_hashes / _num_common(asked, self._clips[clip], moved - _ZERO))
        return Match(clip, num_hashes, share, (moved - _ZERO) * HOP / SAMPLE_RATE_HZ)

    def _equal_hashes(self, asked: Fingerprint) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Landmarks asked for, each with every entry of its hash: two columns of numbers.

        The hashes that a steady tone repeats have the most entries and tell the least; beyond
        `MAX_ENTRIES` in all they are left out.
        """
        starts = self._starts[asked.hashes]
        counts = self._starts[asked.hashes + 1] - starts
        rarest_first = np.argsort(counts, kind="stable")
        is_over = np.cumsum(counts[rarest_first]) > MAX_ENTRIES
        counts[rarest_first[is_over]] = 0
        landmarks = np.repeat(np.arange(len(asked)), counts)
        within = np.arange(len(landmarks)) - np.repeat(np.cumsum(counts) - counts, counts)
        return landmarks, starts[landmarks] + within


def _num_hashes(match: Match) -> int:
    return match.num_hashes


def _num_common(asked: Fingerprint, known: Fingerprint, offset: int) -> int:
    """How many landmarks two clips could share, the second one moved by so many frames.

    At least `ENOUGH`, or what the poorer clip has: where only the ends of two clips lie over each
    other, a few landmarks would be a large share.
    """
    begin = max(0, -offset)
    end = min(int(asked.frames[-1]), int(known.frames[-1]) - offset)
    lying_over = min(
        _num_between(asked.frames, begin, end),
        _num_between(known.frames, begin + offset, end + offset) // NUM_PHASES,
    )
    return max(lying_over, min(ENOUGH, len(asked), len(known) // NUM_PHASES), 1)


def _num_between(frames: NDArray[np.int32], begin: int, end: int) -> int:
    first, last = np.searchsorted(frames, [begin, end + 1])
    return int(last - first)
