"""What each role's actor is told at its start, taken from the run's configuration."""

from pathlib import Path

from keomni_rl.config.placement import RolePlacement
from keomni_rl.config.schema import RunConfig
from keomni_rl.engines.specs import EngineSpec, LearnerSpec, ReferenceSpec, engine_spec


def transfer_backend(config: RunConfig, role: str) -> str:
    """VLLM's weight-transfer backend for a role of engines.

    GPU to GPU for rollout actors, within one if they are colocated. Evaluators get a packed buffer
    wherever they are: it can be sent again, to one that was started in place of a lost one, when
    the learner has gone on.
    """
    place = config.placement
    if role == "evaluator" or not (place.rollout.gpus and place.learner.gpus):
        return "cpu"
    return "ipc" if place.colocated else "nccl"


def run_engine_spec(config: RunConfig, role: str) -> EngineSpec:
    """The engine of a rollout or an evaluator actor, which waits for the learner's weights."""
    placement: RolePlacement = getattr(config.placement, role)
    backend = transfer_backend(config, role)
    is_rollout = role == "rollout"
    return engine_spec(
        config.model,
        config.engine,
        placement,
        backend=backend,
        awaits_weights=True,
        in_flight=config.rollout.in_flight if is_rollout else "keep",
        takes_turns=is_rollout and config.placement.colocated,
    )


def learner_spec(config: RunConfig, checkpoint: Path | str | None) -> LearnerSpec:
    """Rank 0 of the learner, before the ranks have a meeting point."""
    return LearnerSpec(
        model=config.model.path,
        revision=config.model.revision,
        dtype=config.model.dtype,
        learner=config.learner,
        algo=config.algo,
        max_steps=config.train.max_steps,
        seed=config.train.seed,
        temperature=config.rollout.temperature,
        world_size=config.placement.learner.actors,
        on_gpu=config.placement.learner.gpus > 0,
        num_threads=config.placement.learner.num_threads,
        checkpoint=checkpoint if isinstance(checkpoint, Path) else None,
        checkpoint_url=checkpoint if isinstance(checkpoint, str) else None,
    )


def reference_spec(config: RunConfig) -> ReferenceSpec:
    """The policy that KL is measured against."""
    return ReferenceSpec(
        model=config.model.path,
        revision=config.model.revision,
        dtype=config.model.dtype,
        temperature=config.rollout.temperature,
        on_gpu=config.placement.reference.gpus > 0,
        num_threads=config.placement.reference.num_threads,
    )
