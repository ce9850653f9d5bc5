"""Bytes in memory that other processes of the same machine map instead of copying.

The memory is an anonymous file: it has no name that could be left behind and ends with the last
process that holds it, however that ends. Others open it through its owner's entry in ``/proc``.
"""

import mmap
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch


class SharedBuffer:
    """Memory of this process that others of its `place` can open at `path`."""

    def __init__(self, num_bytes: int) -> None:
        # Unbuffered, since it is only held open for as long as this object lives.
        self._file = os.fdopen(os.memfd_create("keomni_rl"), "r+b", buffering=0)
        self._file.truncate(num_bytes)
        self._memory = mmap.mmap(self._file.fileno(), num_bytes)
        self.path = f"/proc/{os.getpid()}/fd/{self._file.fileno()}"
        self.bytes = torch.frombuffer(self._memory, dtype=torch.uint8)
        """[num_bytes], shared with whoever has opened it."""

    @classmethod
    def of(cls, content: np.ndarray) -> Self:
        """A copy of some bytes, to be opened by others."""
        buffer = cls(content.nbytes)
        buffer.bytes.numpy()[:] = content
        return buffer


class OpenBuffers:
    """Buffers of other processes, mapped for as long as they are asked for.

    The kernel brings a mapping's pages in one by one, which takes longer than reading them: what
    is used again, as with every weight transfer, stays mapped.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str, int, int], torch.Tensor] = {}

    def open(self, paths: Sequence[str]) -> list[torch.Tensor]:
        """The bytes of some buffers, not to be written to; all others are let go."""
        opened = {}
        for path in paths:
            found = os.stat(path)  # another buffer may come to have the same path
            key = (path, found.st_dev, found.st_ino)
            opened[key] = self._open[key] if key in self._open else _mapped(path)
        self._open = opened
        return list(opened.values())


def _mapped(path: str) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.memmap(path, dtype=np.uint8, mode="r"))


def place() -> str:
    """Processes that say the same can open each other's buffers.

    They are of one user, on one machine, and see the same processes (no container between them).
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.stat('/proc/self/ns/pid').st_ino} {os.getuid()}"
