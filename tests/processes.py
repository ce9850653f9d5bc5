"""Finds the processes of a run that a test has marked in their environment."""

import os

MARK = "KEOMNI_RL_TEST_MARK"


def marked(mark: str) -> dict[int, str]:
    """Process ids and command lines of living processes that inherited the mark."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                is_ours = f"{MARK}={mark}".encode() in file.read()
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                command = file.read().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if is_ours:
            found[int(pid)] = command
    return found
