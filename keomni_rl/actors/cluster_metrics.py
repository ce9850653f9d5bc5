"""What Ray serves to Prometheus of a run: every metric, and the board that its values are put on.

Each node serves what its processes show, at its metrics port and with ``ray_`` before the name. Ray
forgets a gauge that has not been set for 20 s, and never a counter. Everything carries the tag
``run``, the name of the run folder; ``cluster/grafana/keomni_rl.json`` draws it.
"""

from dataclasses import dataclass
from typing import Any

import ray
from ray.util import metrics


@dataclass(frozen=True)
class Metric:
    """A counter if its name ends in ``_total``, as Prometheus has it, or else a gauge."""

    name: str
    text: str
    tags: tuple[str, ...] = ()
    """Besides ``run``."""

    @property
    def is_counter(self) -> bool:
        """Whether it only grows."""
        return self.name.endswith("_total")


STEP = Metric("keomni_rl_train_step", "Optimizer steps done")
MAX_STEPS = Metric("keomni_rl_train_max_steps", "Optimizer steps at the end of the run")
STEP_SECONDS = Metric(
    "keomni_rl_step_seconds", "Time of the last step, in all and by stage", ("stage",)
)
GROUP_SECONDS = Metric(
    "keomni_rl_group_seconds", "Mean over the last step's groups, by stage", ("stage",)
)
PUBLISHED_BYTES = Metric(
    "keomni_rl_publish_bytes", "Weights that the last step sent to each rollout actor"
)
REWARD = Metric(
    "keomni_rl_reward_mean",
    "Mean over the last step's completions: the weighted total, and its parts before weighting",
    ("part",),
)
KL = Metric(
    "keomni_rl_kl_mean",
    "Of the policy to the reference and to the sampler, mean over the last step's tokens",
    ("to",),
)
LOSS = Metric("keomni_rl_learner_loss", "Loss of the last step")
GRAD_NORM = Metric("keomni_rl_learner_grad_norm", "Norm of the last step's gradient")
COMPLETION_TOKENS = Metric(
    "keomni_rl_completion_tokens", "Length of the last step's completions", ("over",)
)
ROLLOUT_RATIO = Metric(
    "keomni_rl_rollout_ratio",
    "Of the last step's completions those truncated or over the think limit, of its groups those "
    "of equal rewards",
    ("of",),
)
STALENESS = Metric("keomni_rl_staleness_versions", "Age of the last step's completions", ("over",))
SLOTS = Metric(
    "keomni_rl_slots",
    "Waiting for actors, ready for the learner or with it, or free; all but the free are alive",
    ("state",),
)
STARTED = Metric("keomni_rl_groups_started_total", "Groups started")
DROPPED = Metric("keomni_rl_groups_dropped_total", "Groups never to be trained on", ("reason",))
ACTORS = Metric(
    "keomni_rl_actors", "Actors of a role, ready for work or starting", ("role", "state")
)
IN_HAND = Metric(
    "keomni_rl_actors_in_hand",
    "Pieces of work given to a role's actors and not answered",
    ("role",),
)
RESTARTS = Metric(
    "keomni_rl_actors_restarts_total", "Actors started in place of lost ones", ("role",)
)
TOKENS = Metric("keomni_rl_engine_tokens_total", "Tokens that an actor sampled", ("role", "actor"))
QUESTIONS = Metric("keomni_rl_evaluation_questions", "Questions of the evaluation under way")
ANSWERED = Metric("keomni_rl_evaluation_answered_questions", "Those answered so far")
ACCURACY = Metric(
    "keomni_rl_evaluation_accuracy_ratio", "Questions answered right in the last evaluation"
)
DRIVER_SECONDS = Metric("keomni_rl_driver_cpu_seconds_total", "Processor time of the driver")


class Board:
    """Where one process shows values, all under the same tags.

    Args:
        run: name of the run folder.
        tags: that all metrics shown here have.
    """

    def __init__(self, run: str, **tags: str) -> None:
        self._tags = {"run": run, **tags}
        self._shown: dict[str, Any] = {}
        self._totals: dict[tuple[str, ...], float] = {}

    def show(self, metric: Metric, value: float, **tags: str) -> None:
        """Set a gauge, or bring a counter to what it counts in all."""
        shown = self._shown.get(metric.name)
        if shown is None:
            kind = metrics.Counter if metric.is_counter else metrics.Gauge
            shown = kind(metric.name, metric.text, ("run", *metric.tags))
            self._shown[metric.name] = shown
        tags = self._tags | tags
        if not metric.is_counter:
            shown.set(float(value), tags)
            return
        series = (metric.name, *tags.values())
        growth = value - self._totals.get(series, 0.0)
        if growth > 0:
            self._totals[series] = value
            shown.inc(growth, tags)


def actor_board(run: str, role: str) -> Board:
    """The board of the actor that this process is, named by the beginning of its id in Ray."""
    return Board(run, role=role, actor=ray.get_runtime_context().get_actor_id()[:8])
