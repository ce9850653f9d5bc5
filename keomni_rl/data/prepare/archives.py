"""Reads files out of a tar archive that nobody vouches for; nothing is unpacked by the archive.

Members come one by one as bytes, so where they are written is the reader's choice alone. An archive
with a member that points out of its folder, a link, a device, or more than `ArchiveLimits` allow is
refused as a whole.
"""

import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

from keomni_rl.errors import DataError

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
BROKEN = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError)
"""What `tarfile` and the decompressors below it raise on a damaged file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """How much an archive may hold once it is unpacked."""

    max_members: int = 200_000
    max_member_bytes: int = 2**30
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
    limits = limits or ArchiveLimits()
    try:
        archive = tarfile.open(path, "r:*")  # noqa: SIM115
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such archive") from error
    except BROKEN as error:
        raise DataError(
            f"{path}: no tar archive, plain or compressed, that can be opened; download it again"
        ) from error
    try:
        with archive:
            yield from _members(archive, path, wanted, limits)
    except BROKEN as error:
        raise DataError(
            f"{path}: not a whole tar archive ({error or type(error).__name__}); what came before "
            "the damage is kept; download it again"
        ) from error


def _members(
    archive: tarfile.TarFile,
    path: Path,
    wanted: Callable[[PurePosixPath], bool],
    limits: ArchiveLimits,
) -> Iterator[tuple[PurePosixPath, bytes]]:
    num_bytes = 0
    for number, member in enumerate(archive, start=1):
        num_bytes += member.size
        if number > limits.max_members:
            _refuse(path, f"holds more than {limits.max_members} members")
        if member.size > limits.max_member_bytes:
            _refuse(path, f"member {member.name!r} has {member.size} bytes")
        if num_bytes > limits.max_total_bytes:
            _refuse(path, f"holds more than {limits.max_total_bytes} bytes")
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts:
            _refuse(path, f"member {member.name!r} points out of the archive's folder")
        if member.isdir():
            continue
        if not member.isreg():
            _refuse(path, f"member {member.name!r} is a link or a device, wanted plain files")
        if wanted(name):
            yield name, _content(archive, member)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    content = file.read() if file else b""
    if len(content) < member.size:
        raise tarfile.ReadError(f"{member.name} ends early")
    return content


def _refuse(path: Path, why: str) -> NoReturn:
    raise DataError(f"{path}: {why}; not read further, as an archive of clips has no such thing")
