"""What a run would start, said in words, from its configuration alone."""

from keomni_rl.config.describe import describe_prompt, describe_trained
from keomni_rl.config.schema import RunConfig, Source


def describe_plan(config: RunConfig) -> list[tuple[str, str]]:
    """Pairs of name and description."""
    t, r = config.train, config.rollout
    files = ", ".join(_source(source) for source in config.data.train)
    rows = [
        ("model", f"{config.model.path} ({config.model.dtype})"),
        ("what learns", describe_trained(config.learner)),
        ("training files", files),
        ("prompt", describe_prompt(config.prompt)),
    ]
    if config.algo.kind == "grpo":
        rows += [
            (
                "rollout actors",
                f"{_role(config, 'rollout')}, vLLM, {r.group_size} completions of "
                f"{r.max_new_tokens} tokens a prompt",
            ),
            ("reward", _rewards(config)),
            (
                "reference",
                f"{_role(config, 'reference')}, beta {config.algo.beta:g}"
                if config.algo.beta
                else "none, beta 0",
            ),
        ]
    objective, staleness = "likelihood of written answers", ""
    if config.algo.kind == "grpo":
        objective, staleness = "GRPO", f"at most {t.max_staleness} versions stale, "
    rows += [
        (
            "learner ranks",
            f"{_role(config, 'learner')}, DeepSpeed ZeRO-{config.learner.zero_stage}, "
            f"{objective}, rate {config.learner.lr:g}",
        ),
        (
            "loop",
            f"{t.max_steps} steps of {t.groups_per_step} groups, {staleness}{config.slots} slots",
        ),
    ]
    if config.evaluation:
        every = config.evaluation.every_steps
        when = f"every {every} steps" if every else "before and after"
        rows.append(
            ("evaluators", f"{_role(config, 'evaluator')}, {config.evaluation.file}, {when}")
        )
    rows.append(("run folder", str(config.run_dir)))
    return rows


def _source(source: Source) -> str:
    count = f"{source.count} of " if source.count else ""
    notes = [f"weight {source.weight:g}"] if source.weight else []
    notes += [source.style] if source.style else []
    return f"{count}{source.file}" + (f" ({', '.join(notes)})" if notes else "")


def _rewards(config: RunConfig) -> str:
    mode = " (as the seeds compute it)" if config.reward.compat else ""
    return ", ".join(f"{w:g} x {n}" for n, w in config.reward.weights.items()) + mode


def _role(config: RunConfig, name: str) -> str:
    of_role = getattr(config.placement, name)
    number = of_role.num_threads
    what = f"CPU, {number} thread{'s' if number > 1 else ''}"
    if of_role.gpus:
        what = f"{of_role.gpus} GPU"
    return f"{of_role.actors} x {what}"
