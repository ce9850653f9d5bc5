"""The command line: one function a command; what a command needs is imported when it runs."""

from keomni_rl.cli.app import main

__all__ = ["main"]
