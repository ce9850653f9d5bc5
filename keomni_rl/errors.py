"""The error tree: one class per kind of trouble, each picklable through Ray.

No class has an ``__init__`` of its own, so every error survives a process boundary. A message
says what went wrong, where, what was wanted and what to do.
"""


class ConfigError(ValueError):
    """The configuration, or what it asks of this machine, cannot be."""


class DataError(ValueError):
    """A file given by the user cannot be read as what it should be."""


class CheckpointError(ValueError):
    """A checkpoint or model folder is missing, incomplete or of another kind."""


class EngineError(RuntimeError):
    """vLLM or DeepSpeed failed underneath us."""


class WeightSyncError(EngineError):
    """Weights could not be brought from the learner to an engine, or would not fit it."""


class NonFiniteLossError(RuntimeError):
    """Loss or gradient became NaN or infinite; raised before the optimizer step."""


class RewardError(RuntimeError):
    """A reward function raised or returned nonsense; never turned into a reward of 0."""


class ActorError(RuntimeError):
    """An actor died or stopped answering and could not be replaced."""


class LostWorkError(ActorError):
    """One piece of work was lost with several actors, one after the other: it may be the cause."""


class LearnerLostError(ActorError):
    """A learner rank died, or the ranks' way to the engines broke: all have to start anew."""


class StoreError(RuntimeError):
    """The object store that a run's folder is in is away, or another driver's now."""


class StoppedError(Exception):
    """The job was told to leave (SIGTERM, as before a preemption), and has kept what it had."""


USER_ERRORS: tuple[type[Exception], ...] = (ConfigError, DataError, CheckpointError)
"""Errors a user can mend: shown as one message and exit code 2, without a traceback."""
RUN_ERRORS: tuple[type[Exception], ...] = (
    EngineError,
    NonFiniteLossError,
    RewardError,
    ActorError,
    StoreError,
)
"""Errors of a run that was well asked for: shown as one message too, with exit code 1."""
