"""What a configuration asks for, in words."""

from pathlib import Path

from keomni_rl.config.schema import LearnerConfig, LoraConfig, PromptConfig, RunConfig

TRAINED = {
    "all": "everything",
    "without_audio_tower": "everything but the audio tower",
}

ADDED = {"all": "", "without_audio_tower": ", audio tower frozen", "lora": ", LoRA"}
"""What learnt -> how a method's name says so."""


def describe_trained(learner: LearnerConfig) -> str:
    """What of the model learns."""
    if learner.trained != "lora":
        return TRAINED[learner.trained]
    lora = learner.lora or LoraConfig()
    return (
        f"adapters of rank {lora.rank} (alpha {lora.alpha:g}) on {', '.join(lora.targets)}; "
        "engines serve the merged weights"
    )


def describe_prompt(prompt: PromptConfig) -> str:
    """What is asked for after a question."""
    has_limit = prompt.thinks and prompt.think_max_words
    return prompt.style + (f", less than {prompt.think_max_words} words" if has_limit else "")


def describe_method(config: RunConfig) -> str:
    """How a run teaches, as the seeds' papers name it."""
    kind = "supervised"
    if config.algo.kind == "grpo":
        kind = "GRPO with think" if config.prompt.thinks else "GRPO without think"
    return kind + ADDED[config.learner.trained]


def describe_run(config: RunConfig) -> list[tuple[str, str]]:
    """Names and values of what tells one run from another."""
    train, rollout, learner = config.train, config.rollout, config.learner
    is_grpo = config.algo.kind == "grpo"
    settings = [
        ("model", f"{config.model.path.name}, {config.model.dtype}"),
        ("objective", "GRPO" if is_grpo else "supervised, likelihood of written answers"),
        ("what learns", describe_trained(learner)),
        ("prompt", describe_prompt(config.prompt)),
        ("training files", ", ".join(Path(source.file).name for source in config.data.train)),
        ("steps", f"{train.max_steps} of {train.groups_per_step} groups"),
        ("learning rate", f"{learner.lr:g}, {learner.lr_schedule}"),
        ("ZeRO stage", str(learner.zero_stage)),
        ("seed", str(train.seed)),
    ]
    if is_grpo:
        weights = ", ".join(f"{w:g} x {name}" for name, w in config.reward.weights.items())
        settings += [
            ("reward", weights),
            ("group size", str(rollout.group_size)),
            ("staleness", f"at most {train.max_staleness}"),
            ("beta", f"{config.algo.beta:g}"),
        ]
    return settings
