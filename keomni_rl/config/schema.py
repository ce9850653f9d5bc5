"""Every dial of a run, with its unit, range and effect; defaults are the Ke-Omni-R recipe.

Nothing derived is stored and nothing is changed by validation: `RunConfig` only checks what no
section can check alone. A value that would have no effect is an error.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ModelConfig(Section):
    """The policy that training starts from."""

    path: Path
    """Model folder, either checkpoint layout."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Of the policy in every engine; the optimizer keeps float32 masters."""


class DataConfig(Section):
    """Training questions and how they are put to the model."""

    train: tuple[Path, ...] = Field(min_length=1)
    """JSONL or Parquet files in the training format, read one after the other."""
    sample: Positive | None = None
    """Take this many questions at random (seeded) instead of all."""
    max_audio_s: float = Field(30.0, gt=0, le=300)
    """A longer clip is an error."""
    think: bool = True
    """Ask for a think before the answer."""
    think_max_words: NotNegative = 50
    """The limit named in the prompt; 0 names none."""


class RolloutConfig(Section):
    """How completions are sampled."""

    group_size: int = Field(8, ge=2)
    """G, completions of one prompt; advantages need at least 2."""
    max_new_tokens: Positive = 64
    """A completion is cut here; long thinkers lose format and accuracy."""
    temperature: float = Field(1.0, gt=0, le=2)
    """The learner divides logits by it too."""
    max_model_len: Positive = 2048
    """Tokens of prompt (25 a second of audio) and completion together."""
    max_num_seqs: Positive = 256
    """Completions that one engine works on at once."""
    gpu_memory_utilization: float = Field(0.85, gt=0, le=1)
    """Share of a GPU for weights and KV cache."""
    kv_cache_gib: float = Field(1.0, gt=0)
    """KV cache of an engine without a GPU."""


class RewardConfig(Section):
    """What a completion is worth."""

    weights: dict[str, float] = Field({"accuracy": 2.0, "format": 1.0}, min_length=1)
    """Name of a reward -> its weight in the sum. ``module:function`` names one of yours."""


class AlgoConfig(Section):
    """The objective."""

    beta: float = Field(0.01, ge=0)
    """Weight of the KL to the reference; 0 starts no reference actor."""
    divide_by_std: bool = True
    """Divide advantages by the group's standard deviation (Dr. GRPO does not)."""
    std_eps: float = Field(1e-4, gt=0)
    """Added to that standard deviation."""
    old_logprobs: Literal["learner", "rollout"] = "learner"
    """Denominator of the ratio: the learner's own (ratio 1, as the seeds) or the sampler's."""
    clip_low: float = Field(0.2, ge=0, lt=1)
    """Ratio is clipped below 1 - this; acts with old_logprobs: rollout."""
    clip_high: float = Field(0.2, ge=0)
    """Ratio is clipped above 1 + this."""
    importance_cap: float | None = Field(2.0, gt=0)
    """Truncated importance sampling of rollout against learner; null switches it off."""
    aggregation: Literal["sequence", "token", "constant"] = "sequence"
    """Mean over tokens then sequences (GRPO), over tokens (DAPO), by a constant (Dr. GRPO)."""
    aggregation_tokens: Positive | None = None
    """The constant, in tokens a sequence."""

    @model_validator(mode="after")
    def _has_no_idle_dial(self) -> Self:
        if (self.aggregation == "constant") != (self.aggregation_tokens is not None):
            raise ValueError(
                "aggregation_tokens goes with aggregation: constant, and only with it; "
                f"got {self.aggregation} and {self.aggregation_tokens}"
            )
        if self.old_logprobs == "rollout" and self.importance_cap is not None:
            raise ValueError(
                "importance_cap does nothing with old_logprobs: rollout, whose ratio corrects for "
                "the sampler already; set importance_cap: null"
            )
        return self


class LearnerConfig(Section):
    """How the policy is optimized (AdamW under DeepSpeed)."""

    lr: float = Field(1e-6, ge=0)
    lr_schedule: Literal["linear", "constant"] = "linear"
    """Linear decay to 0 at train.max_steps, or none."""
    warmup_steps: NotNegative = 0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    zero_stage: Literal[0, 1, 2, 3] = 3
    offload_optimizer: bool = False
    """Keep optimizer states in host memory."""
    gradient_checkpointing: bool = False
    micro_batch_tokens: Positive = 8192
    """Padded tokens of the rows that one forward takes; a longer row goes alone."""


class TrainConfig(Section):
    """The loop."""

    max_steps: Positive = 6400
    groups_per_step: Positive = 8
    max_staleness: NotNegative = 0
    """Versions a group's weights may be behind when it is trained on; 0 is synchronous GRPO."""
    dynamic_sampling: bool = False
    """Replace groups whose rewards are all equal."""
    seed: int = Field(42, ge=0)
    """Of data order and sampling."""


class EvaluationConfig(Section):
    """Evaluation during training, in the background."""

    file: Path
    """MMAU's official JSON, or a file of that form."""
    every_steps: NotNegative = 100
    """0 evaluates before and after training only."""
    max_new_tokens: Positive = 256
    temperature: float = Field(0.0, ge=0, le=2)
    """0 is greedy."""
    max_in_flight: Positive = 64
    """Questions that one evaluator works on at once."""


class CheckpointConfig(Section):
    """What is kept to resume from."""

    every_steps: Positive = 100
    keep: Positive = 2
    """Newest checkpoints that stay."""


class RolePlacement(Section):
    """Processes of one role and what each takes of the cluster."""

    actors: Positive = 1
    gpus: NotNegative = 1
    """Of each actor; for a rollout or evaluator engine, its tensor-parallel size. 0 runs on CPU."""
    cpus: float = Field(1, ge=0)
    """Reserved in Ray for each actor."""
    threads: Positive | None = None
    """Compute threads of an actor on CPU; null takes ``cpus``, at least 1."""

    @property
    def num_threads(self) -> int:
        """Compute threads of an actor on CPU."""
        return self.threads or max(1, int(self.cpus))


class PlacementConfig(Section):
    """What each role gets."""

    rollout: RolePlacement = RolePlacement()
    learner: RolePlacement = RolePlacement()
    reference: RolePlacement = RolePlacement()
    evaluator: RolePlacement = RolePlacement()
    address: str | None = None
    """Ray cluster to join; null joins the one around (a submitted job) or starts a local one."""


class ObserveConfig(Section):
    """What is written for people."""

    tensorboard: bool = True
    rollout_groups: NotNegative = 4
    """Groups of each step kept in rollouts/ for reading."""


class RunConfig(Section):
    """A whole training run."""

    run_dir: Path
    """Folder that all results go to; a name in use is refused unless resumed."""
    model: ModelConfig
    data: DataConfig
    rollout: RolloutConfig = RolloutConfig()
    reward: RewardConfig = RewardConfig()
    algo: AlgoConfig = AlgoConfig()
    learner: LearnerConfig = LearnerConfig()
    train: TrainConfig = TrainConfig()
    evaluation: EvaluationConfig | None = None
    """null evaluates nothing."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    placement: PlacementConfig = PlacementConfig()
    observe: ObserveConfig = ObserveConfig()

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        if self.train.groups_per_step < self.placement.learner.actors:
            raise ValueError(
                f"train.groups_per_step: {self.train.groups_per_step} is fewer than "
                f"placement.learner.actors: {self.placement.learner.actors}; a rank needs a group"
            )
        if self.rollout.max_new_tokens >= self.rollout.max_model_len:
            raise ValueError(
                f"rollout.max_new_tokens: {self.rollout.max_new_tokens} leaves no room for prompts "
                f"in rollout.max_model_len: {self.rollout.max_model_len}"
            )
        if self.evaluation and self.evaluation.max_new_tokens >= self.rollout.max_model_len:
            raise ValueError(
                f"evaluation.max_new_tokens: {self.evaluation.max_new_tokens} leaves no room for a "
                f"prompt in rollout.max_model_len: {self.rollout.max_model_len}"
            )
        return self

    @property
    def slots(self) -> int:
        """Groups that may be alive at once."""
        return (self.train.max_staleness + 1) * self.train.groups_per_step
