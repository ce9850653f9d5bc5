"""Ends vLLM's processes when the one that started them is gone.

An actor that is killed outright cannot shut its engine down, and vLLM's processes would live on and
hold their memory, or their GPU. So each of them watches its parent, and asks the kernel to end it
with the parent too, which reaches even a process that was stopped.
"""

import ctypes
import os
import signal
import threading
import time

OWNER = "KEOMNI_RL_ENGINE_OWNER"
"""Environment variable with the id of the process that holds the engine."""
LOOK_EVERY_S = 1.0
NAME = "lifeline"
PR_SET_PDEATHSIG = 1
"""Of Linux's prctl(2)."""


def hold_lifeline() -> None:
    """Say, before an engine starts, that its processes are to end with this one."""
    os.environ[OWNER] = str(os.getpid())


def watch_lifeline() -> None:
    """Watch the parent from within one of the engine's processes; elsewhere nothing is watched."""
    is_owner = os.environ.get(OWNER, str(os.getpid())) == str(os.getpid())
    if is_owner or any(thread.name == NAME for thread in threading.enumerate()):
        return
    parent = os.getppid()
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, name=NAME, daemon=True).start()
