"""Experiment trackers that a run shows its metrics to, beside the files in its folder.

Each is optional: asked for by `keomni_rl.config.schema.ObserveConfig`, and installed by an extra of
its own. What a tracker cannot take never ends a run.
"""

from keomni_rl.observe.trackers.open import check_trackers, tracked
from keomni_rl.observe.trackers.tracker import Tracker

__all__ = ["Tracker", "check_trackers", "tracked"]
"""`check_trackers` before a run, `tracked` around it."""
