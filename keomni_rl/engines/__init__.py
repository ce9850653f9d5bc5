"""vLLM and DeepSpeed as this system uses them, without Ray."""
