"""Ends vLLM's processes when the one that started them is gone.

An actor that is killed outright cannot shut its engine down, and vLLM's processes would live on and
hold their memory, or their GPU. So each of them watches its parent.
"""

import os
import threading
import time

OWNER = "KEOMNI_RL_ENGINE_OWNER"
"""Environment variable with the id of the process that holds the engine."""
LOOK_EVERY_S = 1.0
NAME = "lifeline"


def hold_lifeline() -> None:
    """Say, before an engine starts, that its processes are to end with this one."""
    os.environ[OWNER] = str(os.getpid())


def watch_lifeline() -> None:
    """Watch the parent from within one of the engine's processes; elsewhere nothing is watched."""
    is_owner = os.environ.get(OWNER, str(os.getpid())) == str(os.getpid())
    if is_owner or any(thread.name == NAME for thread in threading.enumerate()):
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, name=NAME, daemon=True).start()
