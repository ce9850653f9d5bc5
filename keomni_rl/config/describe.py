"""What a configuration asks for, in words."""

from keomni_rl.config.schema import LearnerConfig, LoraConfig, PromptConfig

TRAINED = {
    "all": "everything",
    "without_audio_tower": "everything but the audio tower",
}


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
