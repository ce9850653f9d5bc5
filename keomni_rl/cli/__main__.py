"""``python -m keomni_rl.cli``."""

from keomni_rl.cli.app import main

main()
