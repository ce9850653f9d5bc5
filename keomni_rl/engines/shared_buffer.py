"""Bytes in memory that other processes of the same machine map instead of copying.

The memory is an anonymous file: it has no name that could be left behind and ends with the last
process that holds it, however that ends. Others open it through its owner's entry in ``/proc``.
"""

import mmap
import os
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


def open_shared(path: str) -> torch.Tensor:
    """The bytes of another process's buffer, not copied; what is written to them stays here."""
    return torch.from_numpy(np.memmap(path, dtype=np.uint8, mode="c"))


def place() -> str:
    """Processes that say the same can open each other's buffers.

    They are of one user, on one machine, and see the same processes (no container between them).
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.stat('/proc/self/ns/pid').st_ino} {os.getuid()}"
