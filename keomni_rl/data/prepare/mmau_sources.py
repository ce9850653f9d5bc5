"""Where MMAU comes from: the official JSON with a folder or an archive of clips, or Parquet.

Every source gives the same entries: a record with the official keys, as yet untidied, and the bytes
or the path of its clip.
Sources: the MMAU repository (JSON and tar.gz); the Parquet of gamma-lab-umd/MMAU-test-mini; that of
lmms-lab/mmau, whose choices are text.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from keomni_rl.data.mmau import AUDIO_FOLDERS, decode_array, read_array
from keomni_rl.data.prepare.archives import is_archive, read_archive
from keomni_rl.data.prepare.mmau_parquet import ParquetFiles
from keomni_rl.errors import DataError

WANTED = "wanted MMAU's JSON, a tar.gz that holds it, Parquet files or a folder of them"


@dataclass(frozen=True, slots=True)
class Entry:
    """One question as its source has it."""

    position: int
    """In the source, from 0."""
    where: str
    """File and entry, for errors."""
    record: Mapping[str, Any]
    clip: bytes | Path | None
    """The sound file's content, or where it lies; None if it is missing."""


@dataclass(frozen=True, slots=True)
class Source:
    """All entries of a download; clips in an archive come in its order, missing ones last."""

    paths: Sequence[Path]
    num_questions: int
    entries: Iterator[Entry]


def open_source(paths: Sequence[Path], audio: Path | None) -> Source:
    """Tell what kind of download this is and open it.

    Args:
        paths: the JSON, the archive, the folder, or one or more Parquet files.
        audio: folder or archive of the clips, where they do not come with the questions.

    Raises:
        DataError: nothing of the kind.
    """
    first = paths[0]
    if not first.exists():
        raise DataError(f"{first}: no such file or folder; {WANTED}")
    shards = sorted(first.glob("*.parquet")) if first.is_dir() else list(paths)
    if shards and all(path.suffix == ".parquet" for path in shards):
        files = ParquetFiles(shards)
        return Source(paths, files.num_rows, _parquet_entries(files, audio))
    if first.is_dir():
        raise DataError(f"{first}: holds no Parquet files; {WANTED}")
    if len(paths) > 1:
        raise DataError(f"{paths[1]}: only Parquet comes in several files; {WANTED}")
    if is_archive(first):
        where, records = _read_packed_array(first)
        return Source(paths, len(records), _entries(where, records, audio or first))
    if first.suffix == ".json":
        records = read_array(first)
        return Source(paths, len(records), _entries(str(first), records, audio or first.parent))
    raise DataError(f"{first}: {WANTED}")


def _read_packed_array(archive: Path) -> tuple[str, list[Any]]:
    packed = read_archive(archive, lambda name: name.suffix == ".json" and not _is_shadow(name))
    name, content = next(packed, (None, b""))
    if name is None:
        raise DataError(
            f"{archive}: holds no JSON; give the questions and the archive apart, as in "
            f"'prepare mmau mmau-test-mini.json --audio {archive.name}'"
        )
    for other, _ in packed:
        raise DataError(
            f"{archive}: holds {name} and {other}; unpack the one you want and give it with "
            f"--audio {archive.name}"
        )
    where = f"{archive}, {name}"
    return where, decode_array(content, where)


def _entries(where: str, records: list[Any], audio: Path) -> Iterator[Entry]:
    """Entries of an official array, with clips from a folder or an archive."""
    entries = []
    for position, record in enumerate(records):
        place = f"{where}, entry {position + 1}"
        if not isinstance(record, Mapping):
            raise DataError(f"{place}: wanted an object, got {record!r:.80}")
        if not isinstance(record.get("id"), (str, int)):
            raise DataError(f"{place}: 'id' is {record.get('id')!r:.80}, wanted text")
        if not clip_name(record.get("audio_id")):
            raise DataError(
                f"{place}: 'audio_id' is {record.get('audio_id')!r:.80}, wanted the path of a clip"
            )
        entries.append(Entry(position, place, record, None))
    if is_archive(audio):
        yield from _packed_clips(entries, audio)
    elif audio.is_dir():
        for entry in entries:
            yield _with_clip(entry, _find(audio, entry.record["audio_id"]))
    else:
        raise DataError(f"{audio}: no folder and no tar archive of clips; correct --audio")


def _packed_clips(entries: Sequence[Entry], archive: Path) -> Iterator[Entry]:
    waiting: dict[str, list[Entry]] = {}
    for entry in entries:
        waiting.setdefault(clip_name(entry.record["audio_id"]), []).append(entry)
    seen: dict[str, PurePosixPath] = {}
    for path, content in read_archive(archive, lambda member: member.name in waiting):
        if path.name in seen:
            raise DataError(f"{archive}: holds {seen[path.name]} and {path}; wanted one of a name")
        seen[path.name] = path
        for entry in waiting[path.name]:
            yield _with_clip(entry, content)
    for name, missing in waiting.items():
        if name not in seen:
            yield from missing


def _find(folder: Path, audio_id: str) -> Path | None:
    """The clip in a folder: by its path there, by its name, or by its name in MMAU's own folder.

    Raises:
        DataError: it is a link that leads out of the folder.
    """
    name = clip_name(audio_id)
    candidates = [name, *(f"{inner}/{name}" for inner in AUDIO_FOLDERS)]
    own = PurePosixPath(audio_id)
    if not own.is_absolute() and ".." not in own.parts:
        candidates.insert(0, audio_id)
    found = (path for path in map(folder.joinpath, candidates) if os.path.isfile(path))
    if (path := next(found, None)) is None:
        return None
    if not (resolved := path.resolve()).is_relative_to(folder.resolve()):
        raise DataError(
            f"{path}: a link that leads out of {folder}, so not taken for a clip; copy the files "
            "(cp -rL) or download them to a plain folder"
        )
    return resolved


def clip_name(audio_id: Any) -> str:
    """The file's name in an ``audio_id``, which may be an author's path; empty if it has none."""
    name = PurePosixPath(audio_id).name if isinstance(audio_id, str) else ""
    return "" if name == ".." or "\0" in name else name


def _with_clip(entry: Entry, clip: bytes | Path | None) -> Entry:
    return Entry(entry.position, entry.where, entry.record, clip)


def _is_shadow(name: PurePosixPath) -> bool:
    """Whether a member is what macOS packs beside each file."""
    return name.name.startswith("._")


def _parquet_entries(files: ParquetFiles, audio: Path | None) -> Iterator[Entry]:
    if audio is not None and not audio.is_dir():
        raise DataError(
            f"{audio}: no such folder of clips; Parquet needs --audio only without them"
        )
    for position, (where, record, content) in enumerate(files):
        folder_clip = _find(audio, record["audio_id"]) if audio else None
        yield Entry(position, where, record, content or folder_clip)
