"""keomni_rl: GRPO for audio language models as Ray actors around vLLM and DeepSpeed."""

__version__ = "0.1.0"
