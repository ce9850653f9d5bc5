"""Reads files out of a tar archive that nobody vouches for; nothing is unpacked by the archive.

Members come one by one as bytes, so where they are written is the reader's choice alone. An archive
with a member that points out of its folder, a link, a device, or more than `ArchiveLimits` allow is
refused as a whole. Memory holds one member and its header, whatever the archive says of itself.
"""

import bz2
import gzip
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, NoReturn

from keomni_rl.errors import DataError

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2")
UNPACKERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open}
"""How a compressed file begins -> what opens it."""
BROKEN = (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, RecursionError)
"""What `tarfile` and the decompressors below it raise on a damaged file."""
MAX_HEADER_BYTES = 2**20
"""From one member to the next; `tarfile` reads long names and attributes in one piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """How much an archive may hold once it is unpacked."""

    max_members: int = 200_000
    max_member_bytes: int = 2**28
    """Which are in memory; a clip of MMAU has some millions."""
    max_total_bytes: int = 2**37
    """128 GiB: some six times MMAU's whole test split."""


def is_archive(path: Path) -> bool:
    """Whether a file is named like a tar archive."""
    return path.name.lower().endswith(SUFFIXES)


def read_archive(
    path: Path,
    wanted: Callable[[PurePosixPath], bool],
    limits: ArchiveLimits | None = None,
) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Name and content of every wanted file in an archive, in its order.

    Args:
        path: a tar file, plain or compressed.
        wanted: whether a member is to be read; the others are passed over.
        limits: `ArchiveLimits` by default.

    Raises:
        DataError: no archive, a damaged or truncated one, or one that is not to be trusted.
    """
    try:
        stream = _Rationed(_unpacked(path))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such archive") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give an archive") from error
    with stream:
        try:
            archive = tarfile.TarFile(fileobj=stream)
        except BROKEN as error:
            raise DataError(
                f"{path}: no tar archive, plain or compressed, that can be opened; download it "
                "again"
            ) from error
        try:
            yield from _members(archive, stream, path, wanted, limits or ArchiveLimits())
        except DataError:
            raise
        except BROKEN as error:
            raise DataError(
                f"{path}: not a whole tar archive ({str(error)[:200] or type(error).__name__}); "
                "what came before the damage is kept; download it again"
            ) from error


def _unpacked(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        head = file.read(max(map(len, UNPACKERS)))
    unpack = next((UNPACKERS[magic] for magic in UNPACKERS if head.startswith(magic)), open)
    stream: IO[bytes] = unpack(path, "rb")
    return stream


class _Rationed(io.BufferedIOBase):
    """A stream of which only ``left`` more bytes may be read; seeking costs nothing."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.left = MAX_HEADER_BYTES

    def read(self, size: int | None = None) -> bytes:
        if size is None or not 0 <= size <= self.left:
            raise tarfile.ReadError(f"a header of over {MAX_HEADER_BYTES} bytes")
        self.left -= size
        return self._stream.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        return self._stream.seek(position, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        self._stream.close()
        super().close()


def _members(
    archive: tarfile.TarFile,
    stream: _Rationed,
    path: Path,
    wanted: Callable[[PurePosixPath], bool],
    limits: ArchiveLimits,
) -> Iterator[tuple[PurePosixPath, bytes]]:
    number = 0
    while member := archive.next():
        number += 1
        _check(member, number, path, limits)
        if not member.isdir() and wanted(name := PurePosixPath(member.name)):
            stream.left = member.size
            yield name, _content(archive, member)
        stream.left = MAX_HEADER_BYTES
        archive.members = []  # type: ignore[attr-defined]  # else it would keep every header
        archive.pax_headers = {}
    stream.seek(archive.offset)
    if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes that for the archive's end
        raise tarfile.ReadError(f"no header where member {number + 1} should begin")


def _check(member: tarfile.TarInfo, number: int, path: Path, limits: ArchiveLimits) -> None:
    name = PurePosixPath(member.name)
    if number > limits.max_members:
        _refuse(path, f"holds more than {limits.max_members} members")
    if not 0 <= member.size <= limits.max_member_bytes:
        _refuse(path, f"member {member.name!r:.80} has {member.size} bytes")
    if member.offset_data + member.size > limits.max_total_bytes:
        _refuse(path, f"holds more than {limits.max_total_bytes} bytes")
    if name.is_absolute() or ".." in name.parts:
        _refuse(path, f"member {member.name!r:.80} points out of the archive's folder")
    if not (member.isdir() or member.isreg()) or member.issparse():
        _refuse(path, f"member {member.name!r:.80} is a link or a device, wanted plain files")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    content = file.read() if file else b""
    if len(content) < member.size:
        raise tarfile.ReadError(f"{member.name:.80} ends early")
    return content


def _refuse(path: Path, why: str) -> NoReturn:
    raise DataError(f"{path}: {why}; not read further, as an archive of clips has no such thing")
