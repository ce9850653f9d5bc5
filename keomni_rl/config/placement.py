"""Where a run's processes go: what each role takes, of which nodes, alone or shared."""

from typing import Literal, Self

from pydantic import Field, model_validator

from keomni_rl.config.section import NotNegative, Positive, Section


class HelperPlacement(Section):
    """Processes of a role that has no engine."""

    actors: Positive = 1
    cpus: float = Field(0, ge=0)
    """Reserved in Ray for each actor."""
    nodes: dict[str, str] = Field(default_factory=dict)
    """Labels that a node must have (``ray start --labels``); none takes any node."""

    @property
    def gpus(self) -> int:
        """None of each actor."""
        return 0

    @property
    def num_threads(self) -> int:
        """Compute threads of an actor."""
        return max(1, int(self.cpus))


class RolePlacement(Section):
    """Processes of one role and what each takes of the cluster."""

    actors: Positive = 1
    gpus: NotNegative = 1
    """Of each actor, all on one node; for a rollout or evaluator engine, its tensor-parallel size.
    A learner rank or a reference has one at most. 0 runs on CPU."""
    cpus: float = Field(1, ge=0)
    """Reserved in Ray for each actor."""
    threads: Positive | None = None
    """Compute threads of an actor on CPU; null takes ``cpus``, at least 1."""
    nodes: dict[str, str] = Field(default_factory=dict)
    """Labels that a node must have (``ray start --labels``); none takes any node."""

    @property
    def num_threads(self) -> int:
        """Compute threads of an actor on CPU."""
        return self.threads or max(1, int(self.cpus))


class ElasticPlacement(RolePlacement):
    """Rollout actors, which may come and go while a run goes on."""

    max_actors: Positive | None = None
    """Join up to this many, beyond ``actors``, whenever the cluster has room for one more; null
    stays with ``actors``."""

    @model_validator(mode="after")
    def _has_room_for_all(self) -> Self:
        if self.max_actors is not None and self.max_actors < self.actors:
            raise ValueError(f"max_actors: {self.max_actors} is fewer than actors: {self.actors}")
        return self

    @property
    def num_extra(self) -> int:
        """Actors that may join."""
        return (self.max_actors or self.actors) - self.actors


class Cluster(Section):
    """Which Ray cluster, and how its nodes are filled."""

    address: str | None = None
    """Ray cluster to join; null joins the one around (a submitted job) or starts a local one."""
    strategy: Literal["pack", "spread"] = "pack"
    """Fill as few nodes as possible, or as many."""
    wait_s: float = Field(0, ge=0)
    """Seconds to wait for nodes that are not there yet, as an autoscaler brings them; 0 refuses at
    once what no node could hold. What others hold at the moment is waited for in any case."""


class PlacementConfig(Cluster):
    """What each role of a training gets."""

    rollout: ElasticPlacement = ElasticPlacement()
    learner: RolePlacement = RolePlacement()
    reference: RolePlacement = RolePlacement()
    evaluator: RolePlacement = RolePlacement()
    reward: HelperPlacement = HelperPlacement()
    audio: HelperPlacement = HelperPlacement()
    colocated: bool = False
    """Rollout actor n and learner rank n share one GPU and take turns on it: one sleeps while the
    other works. For synchronous training."""

    @model_validator(mode="after")
    def _can_be_placed(self) -> Self:
        for role in ("learner", "reference"):
            if (gpus := getattr(self, role).gpus) > 1:
                raise ValueError(
                    f"{role}.gpus: {gpus}, but one such actor works on one GPU; raise "
                    f"placement.{role}.actors"
                )
        if self.colocated:
            self._check_colocated()
        return self

    def _check_colocated(self) -> None:
        rollout, learner = self.rollout, self.learner
        shapes = [(place.actors, place.gpus, place.nodes) for place in (rollout, learner)]
        if shapes[0] != shapes[1] or rollout.gpus > 1 or rollout.num_extra:
            raise ValueError(
                "colocated: true pairs each rollout actor with a learner rank on one GPU, so that "
                "rollout and learner need the same actors, gpus (1 at most) and nodes, and no "
                f"max_actors; got {rollout.actors} of {rollout.gpus} and {learner.actors} of "
                f"{learner.gpus}"
            )


class EvaluatePlacement(Cluster):
    """What the evaluators of an evaluation get."""

    evaluator: RolePlacement = RolePlacement()
    audio: HelperPlacement = HelperPlacement()
