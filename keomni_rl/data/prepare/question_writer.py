"""Writes training questions: taken one by one, staged on disk, chosen, then put in place whole.

The staged rows lie in a hidden folder beside the output, so nothing partial ever has the final
name and the questions need not fit in memory. Beside ``NAME.jsonl`` come ``NAME.skipped.jsonl``,
which lists every row that became no question and why, and, if asked, ``NAME.heldout.jsonl``.
"""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from keomni_rl.data.prepare.audio_folder import AudioFolder
from keomni_rl.data.prepare.question_line import checked_line
from keomni_rl.data.prepare.raw_rows import UnusableRowError
from keomni_rl.data.prepare.selection import Fate, Selection, Staged, choose
from keomni_rl.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written, in numbers."""

    train: Path
    heldout: Path | None
    skipped: Path
    """The list of rows that became no question."""
    num_train: int
    num_heldout: int
    num_clips: int
    """Clips that training will hear."""
    reasons: Mapping[str, int]
    """Why rows were skipped -> how many. Those outside the sample are counted, not listed."""
    kinds: Mapping[str, int]
    """Kind of training question -> how many."""
    places: Mapping[int, int]
    """Place of the right answer among the choices, from 1 -> how many training questions."""


class QuestionWriter:
    """Takes questions, then writes those that are chosen; use as a context.

    Example:
        with QuestionWriter(out, audio=wavs, raw=raw, kind_key="question_relation") as writer:
            writer.add({"id": "1", ..., "audio": writer.audio.find("1.wav")}, 1)
            writer.skip(2, "2", "view only")
            written = writer.finish(Selection(sample=5000))
    """

    def __init__(
        self, out: Path, *, audio: Path, raw: Path, kind_key: str, holds_out: bool = False
    ) -> None:
        """Check where to write.

        Args:
            out: the JSONL file to write.
            audio: folder of the clips.
            raw: the file that is read.
            kind_key: key of a row by which questions are counted.
            holds_out: whether the selection will hold out questions.

        Raises:
            DataError: ``out`` is no name for a JSONL file, is a folder, would overwrite what is
                read, is where the audio is not inside its folder, or belongs to questions that an
                earlier call held out.
        """
        if out.suffix != ".jsonl":
            raise DataError(f"--out {out}: wanted a name that ends in .jsonl")
        self.audio = AudioFolder(audio, out)
        self._out = out
        self._heldout = out.with_suffix(".heldout.jsonl")
        self._skipped = out.with_suffix(".skipped.jsonl")
        for path in (out, self._heldout, self._skipped, out.with_suffix(".overlap.jsonl")):
            if path.resolve() == raw.resolve():
                raise DataError(f"--out {out}: would overwrite {raw}; give another name")
            if path.is_dir():
                raise DataError(f"--out {out}: {path} is a folder; give another name")
        if not holds_out:
            self._refuse_earlier_heldout()
        self._raw = raw
        self._kind_key = kind_key
        self._questions: list[Staged] = []
        self._ids: set[str] = set()
        self._contents: set[int] = set()
        self._reasons: Counter[str] = Counter()

    def __enter__(self) -> Self:
        with self._writing():
            self._aside = tempfile.TemporaryDirectory(
                dir=self._out.parent, prefix=f".{self._out.stem}-"
            )
            self._rows = self._open("rows")
            self._list = self._open("skipped")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in (self._rows, self._list):
            with suppress(OSError):  # what is wanted of them was written out before
                file.close()
        self._aside.cleanup()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"--out {self._out}: cannot be written ({error.strerror}); make room or choose "
                "another place, then run this again"
            ) from error

    def _refuse_earlier_heldout(self) -> None:
        if self._heldout.exists():
            raise DataError(
                f"{self._heldout}: was held out by an earlier call, and training would now hear "
                "its clips; give --heldout, or remove the file"
            )

    def _open(self, name: str) -> IO[bytes]:
        return (Path(self._aside.name) / name).open("w+b")

    def add(self, row: dict[str, Any], number: int, *, may_repeat: bool = False) -> None:
        """Take a question of the training format, checked as training will check it.

        An id that another question has already gets a number: ``x``, ``x#2``, ``x#3``.

        Args:
            row: the question, its ``audio`` as `AudioFolder.find` gave it.
            number: of the raw row that it came from.
            may_repeat: take the same question on the same clip again.

        Raises:
            UnusableRowError: training would refuse it, or the same question was taken before.
            DataError: the disk does not take it.
        """
        content = hash((row["audio"], row["question"], row["answer"], *sorted(row["choices"])))
        if content in self._contents and not may_repeat:
            raise UnusableRowError("duplicate", "the same question on the same clip")
        name = self._unused(row["id"])
        line = checked_line(row | {"id": name}, self.audio.base)
        with self._writing():
            self._rows.write(line)
        self._contents.add(content)
        self._ids.add(name)
        place = row["choices"].index(row["answer"]) + 1
        kind = str(row.get(self._kind_key) or "")
        self._questions.append(Staged(number, name, row["audio"], kind, place))

    def _unused(self, name: str) -> str:
        candidate, times = name, 1
        while candidate in self._ids:
            times += 1
            candidate = f"{name}#{times}"
        return candidate

    def skip(self, number: int, name: str, reason: str, detail: str = "") -> None:
        """Count and list a raw row that becomes no question.

        Args:
            number: of its line or entry.
            name: its id, or what else tells a reader which one it is.
            reason: what it is counted by.
            detail: what was found in this one.
        """
        self._reasons[reason] += 1
        record = {"row": number, "id": name, "reason": reason, "detail": detail}
        with self._writing():
            self._list.write(json.dumps(record).encode() + b"\n")

    def audio_paths(self) -> list[Path]:
        """The clips of all questions taken so far, each once, as absolute paths."""
        return [
            self.audio.base / audio for audio in dict.fromkeys(q.audio for q in self._questions)
        ]

    def finish(self, selection: Selection) -> Written:
        """Choose among the questions and put the files in place.

        Raises:
            DataError: there is no question, or not as many as are asked for; nothing is written.
        """
        if not self._questions:
            raise DataError(f"{self._raw}: {self.audio.complaint or self._why_nothing()}")
        if not selection.heldout:
            self._refuse_earlier_heldout()
        dropped = {q.audio for q in self._questions if self.audio.base / q.audio in selection.drop}
        fates = choose(self._questions, selection, dropped)
        if Fate.TRAIN not in fates:
            raise DataError(f"{self._raw}: every question's {Fate.OVERLAP}; nothing is left")
        with self._writing():
            self._write_parts(fates, with_heldout=selection.heldout > 0)
        return self._count(fates)

    def _why_nothing(self) -> str:
        reasons = ", ".join(f"{reason} ({n})" for reason, n in self._reasons.most_common())
        return f"no row becomes a question: {reasons}"

    def _write_parts(self, fates: list[Fate], *, with_heldout: bool) -> None:
        self._rows.seek(0)
        with self._open("train") as train, self._open("heldout") as heldout:
            parts = {Fate.TRAIN: train, Fate.HELDOUT: heldout}
            for line, question, fate in zip(self._rows, self._questions, fates, strict=True):
                if part := parts.get(fate):
                    part.write(line)
                elif fate is Fate.UNSAMPLED:
                    self._reasons[fate] += 1
                else:
                    self.skip(question.number, question.id, fate)
        self._list.flush()
        aside = Path(self._aside.name)
        os.replace(aside / "skipped", self._skipped)
        if with_heldout:
            self._out.unlink(missing_ok=True)  # it may hold what is held out from now on
            os.replace(aside / "heldout", self._heldout)
        os.replace(aside / "train", self._out)

    def _count(self, fates: list[Fate]) -> Written:
        pairs = list(zip(self._questions, fates, strict=True))
        train = [question for question, fate in pairs if fate is Fate.TRAIN]
        num_heldout = fates.count(Fate.HELDOUT)
        return Written(
            train=self._out,
            heldout=self._heldout if num_heldout else None,
            skipped=self._skipped,
            num_train=len(train),
            num_heldout=num_heldout,
            num_clips=len({question.audio for question in train}),
            reasons=dict(self._reasons.most_common()),
            kinds=dict(Counter(question.kind for question in train).most_common()),
            places=dict(sorted(Counter(question.place for question in train).items())),
        )
