"""How Ray tells that an actor is gone."""

import ray

LOST = (
    ray.exceptions.RayActorError,
    ray.exceptions.OutOfMemoryError,  # Ray ended it to save the node
    ray.exceptions.NodeDiedError,
)
"""What a call raises when its actor is gone."""


def is_loss(error: BaseException | None) -> bool:
    """Whether an error says that the called actor is gone.

    What the call itself raised, for instance since another actor's result could not be had, comes
    as a task's error.
    """
    return isinstance(error, LOST) and not isinstance(error, ray.exceptions.RayTaskError)


def has_failed_to_build(error: BaseException) -> bool:
    """Whether an actor ended because its constructor raised, which another start would repeat."""
    return isinstance(error, ray.exceptions.RayActorError) and bool(error.actor_init_failed)


def first_line(error: BaseException) -> str:
    """What an error says, without Ray's account of the actor."""
    return (str(error).splitlines() or [repr(error)])[0]
