"""Which clips of a training set also occur in an evaluation set, by their acoustic fingerprints.

The evaluation side is held as an index; training clips go by one at a time, so their number is
bound by time alone. Names and bytes play no part: a re-encoded, resampled, quieter, louder or cut
copy is found. A copy changed in pitch or tempo is not, nor is a clip without landmarks (silence,
a steady tone, less than about half a second); the latter are named in the report.
"""

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from keomni_rl.data.audio import read_samples
from keomni_rl.data.mmau import read_mmau
from keomni_rl.data.prepare.fingerprint import Fingerprint, dense_fingerprint, fingerprint
from keomni_rl.data.prepare.fingerprint_index import MIN_VOTES, FingerprintIndex
from keomni_rl.errors import DataError
from keomni_rl.types import FloatArray

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff")
MAX_CLIP_S = 1_200.0
"""Longer files are named as unreadable rather than decoded into memory."""
FILES_AT_ONCE = 512
"""Files handed to the pool before their fingerprints are used."""
ALONE = 64
"""So few files are not worth starting processes for."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """A training clip that occurs in an evaluation clip."""

    training: Path
    evaluation: Path
    num_hashes: int
    """Landmarks that agree on the offset."""
    share: float
    """Of those that the two clips could have in common."""
    offset_s: float
    """When the training clip begins within the evaluation clip; negative if it begins earlier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapReport:
    """What was found, and what could not be looked at."""

    pairs: list[Overlap]
    num_training: int
    num_evaluation: int
    not_compared: dict[Path, str] = field(default_factory=dict)
    """Files of either side that could not be decoded or have too few landmarks, with the reason."""

    @property
    def training_clips(self) -> set[Path]:
        """Training files that occur in the evaluation set."""
        return {pair.training for pair in self.pairs}


def evaluation_clips(source: Path) -> list[Path]:
    """The audio files of an evaluation set.

    Args:
        source: a folder of audio, searched with all it holds, or MMAU's official JSON.

    Raises:
        DataError: neither, or no audio in it.
    """
    if source.is_dir():
        clips = sorted(p for p in source.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
        if not clips:
            raise DataError(f"{source}: holds no audio ({', '.join(AUDIO_SUFFIXES)})")
        return clips
    if source.suffix != ".json":
        found = "wanted" if source.exists() else "no such folder or file; wanted"
        raise DataError(f"{source}: {found} a folder of audio or MMAU's JSON to find overlap with")
    return [Path(question.audio) for question in read_mmau(source)]


def find_overlap(
    training: Sequence[Path],
    evaluation: Sequence[Path],
    *,
    num_workers: int | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> OverlapReport:
    """Look for every training clip in the evaluation clips.

    Args:
        training: audio files; one named twice is looked for once.
        evaluation: audio files, likewise.
        num_workers: processes that decode; as many as there are processors by default.
        advance: told of every file of either side that is done.

    Raises:
        DataError: not one evaluation clip could be read, or a decoding process died.
    """
    training, evaluation = list(dict.fromkeys(training)), list(dict.fromkeys(evaluation))
    num_workers = num_workers or len(os.sched_getaffinity(0))
    is_small = len(training) + len(evaluation) < ALONE
    with _pool(1 if is_small else num_workers) as pool:
        report = OverlapReport(pairs=[], num_training=len(training), num_evaluation=len(evaluation))
        known = dict(_fingerprints(evaluation, dense_fingerprint, pool, report, advance))
        if not known:
            first = next(iter(report.not_compared.values()), "there are none")
            raise DataError(f"not one of {len(evaluation)} evaluation clips can be used: {first}")
        index, paths = FingerprintIndex(list(known.values())), list(known)
        for path, asked in _fingerprints(training, fingerprint, pool, report, advance):
            report.pairs.extend(
                Overlap(path, paths[match.clip], match.num_hashes, match.share, match.offset_s)
                for match in index.find(asked)
            )
    return report


def write_overlap(path: Path, report: OverlapReport) -> None:
    """Write every pair, then every file that was not compared, as a line of JSON each.

    Raises:
        DataError: the disk does not take it.
    """
    rows: list[dict[str, str | float]] = [
        {
            "training": str(pair.training),
            "evaluation": str(pair.evaluation),
            "num_hashes": pair.num_hashes,
            "share": round(pair.share, 3),
            "offset_s": round(pair.offset_s, 2),
        }
        for pair in report.pairs
    ]
    rows += [
        {"not_compared": str(clip), "reason": reason}
        for clip, reason in report.not_compared.items()
    ]
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        os.replace(aside, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); make room") from error


def _fingerprints(
    paths: Sequence[Path],
    method: Callable[[FloatArray], Fingerprint],
    pool: Executor | None,
    report: OverlapReport,
    advance: Callable[[int], object],
) -> Iterator[tuple[Path, Fingerprint]]:
    """Fingerprints of the files that have one, in order; the others go into the report."""
    run = partial(_fingerprint_file, method)
    for start in range(0, len(paths), FILES_AT_ONCE):
        batch = paths[start : start + FILES_AT_ONCE]
        for path, found in zip(batch, _run(run, batch, pool), strict=True):
            advance(1)
            if isinstance(found, str):
                report.not_compared[path] = found
            else:
                yield path, found


def _run(
    run: Callable[[Path], Fingerprint | str], batch: Sequence[Path], pool: Executor | None
) -> Iterator[Fingerprint | str]:
    try:
        yield from pool.map(run, batch, chunksize=8) if pool else map(run, batch)
    except BrokenProcessPool as error:
        raise DataError(
            f"a process died while decoding one of {len(batch)} files from {batch[0]} to "
            f"{batch[-1]}; find the file that the decoder cannot survive and remove it"
        ) from error


def _fingerprint_file(method: Callable[[FloatArray], Fingerprint], path: Path) -> Fingerprint | str:
    """A file's fingerprint, or why it has none."""
    try:
        found = method(read_samples(str(path), max_audio_s=MAX_CLIP_S))
    except DataError as error:
        return str(error)
    if found.num_different < MIN_VOTES:
        return f"{path}: silent, steady or too short to be recognised"
    return found


@contextmanager
def _pool(num_workers: int) -> Iterator[Executor | None]:
    """Processes to decode in, started afresh; none for one worker."""
    if num_workers == 1:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, mp_context=context) as pool:
        yield pool
