"""Settings that somebody made and that a run would never look at.

A recipe, an overlay or a placement may well say what only another kind of run needs, so this is no
error: every start names them and goes on. What cannot be, or would mislead, the schema refuses.
"""

from collections.abc import Iterator

from keomni_rl.config.placement import RolePlacement
from keomni_rl.config.schema import EvaluateConfig, RunConfig
from keomni_rl.config.section import Section

Unused = tuple[str, tuple[str, ...]]
"""Why, and what: keys, or sections with a dot at their end."""
OF_SAMPLING = (
    *("rollout.", "reward.", "placement.rollout.", "placement.reference.", "train.too_stale"),
    *("algo.divide_by_std", "algo.std_eps", "algo.old_logprobs", "algo.clip_low", "algo.clip_high"),
    "observe.rollout_groups",
)
OF_ENGINES = ("engine.", *(f"placement.evaluator.{name}" for name in ("gpus", "cpus", "threads")))


def idle_settings(config: RunConfig | EvaluateConfig) -> list[str]:
    """A line for every reason: the settings that are not at their default, and why they are idle.

    Example:
        ["prompt.think_max_words: 30: no prompt asks for a think"]
    """
    made = dict(_made(config))
    lines = []
    for why, keys in _unused(config):
        idle = [key for key in made if key in keys or key.startswith(_sections(keys))]
        if idle:
            lines.append(f"{', '.join(f'{key}: {made.pop(key)}' for key in idle)}: {why}")
    return lines


def _made(section: Section, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every setting that differs from its default."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _made(value, f"{prefix}{name}.")
        elif value != field.get_default(call_default_factory=True):
            yield prefix + name, value


def _sections(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(key for key in keys if key.endswith("."))


def _unused(config: RunConfig | EvaluateConfig) -> Iterator[Unused]:
    if isinstance(config, RunConfig):
        yield from _unused_in_training(config)
    elif config.endpoint:
        yield "the model is served elsewhere", OF_ENGINES
    yield from _unused_of_prompts(config)
    yield from _unused_of_placement(config)


def _unused_in_training(config: RunConfig) -> Iterator[Unused]:
    algo = config.algo
    if algo.kind == "supervised":
        yield "supervised training samples nothing", OF_SAMPLING
        if not config.evaluation:
            yield "there is no engine without an evaluation", ("engine.",)
    elif algo.beta == 0:
        yield "algo.beta: 0 needs no reference", ("placement.reference.",)
    if config.train.max_staleness == 0:
        yield (
            "nothing is under way when weights come, with max_staleness: 0",
            ("rollout.in_flight",),
        )
    if algo.old_logprobs == "learner":
        yield (
            "nothing is clipped, the ratio is 1 with algo.old_logprobs: learner",
            ("algo.clip_low", "algo.clip_high"),
        )
    if not algo.divide_by_std:
        yield "nothing is divided by with algo.divide_by_std: false", ("algo.std_eps",)
    if not config.evaluation:
        yield "nothing is evaluated", ("placement.evaluator.",)


def _unused_of_prompts(config: RunConfig | EvaluateConfig) -> Iterator[Unused]:
    styles = [config.prompt.style] if config.evaluation else []
    if isinstance(config, RunConfig):
        styles += [source.style or config.prompt.style for source in config.data.train]
    if "think" not in styles:
        yield "no prompt asks for a think", ("prompt.think_max_words", "prompt.compat")
    elif not config.prompt.think_max_words:
        yield "no prompt names a limit of a think", ("prompt.compat",)
    elif not config.evaluation:
        yield "it spells prompts of an evaluation, and there is none", ("prompt.compat",)


def _unused_of_placement(config: RunConfig | EvaluateConfig) -> Iterator[Unused]:
    places = dict(config.placement)
    engines = ["evaluator"] if config.evaluation else []
    if isinstance(config, RunConfig) and config.algo.kind == "grpo":
        engines.append("rollout")
    have_gpus = {bool(places[role].gpus) for role in engines}
    if have_gpus == {True}:
        yield "every engine has a GPU", ("engine.kv_cache_gib",)
    if have_gpus == {False}:
        yield "no engine has a GPU", ("engine.gpu_memory_utilization",)
    for role, place in places.items():
        if isinstance(place, RolePlacement) and place.gpus:
            yield "it is for actors without a GPU", (f"placement.{role}.threads",)
