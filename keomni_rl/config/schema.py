"""Every dial of a run, with its unit, range and effect; defaults are the Ke-Omni-R recipe.

Nothing derived is stored and nothing is changed by validation: `RunConfig` only checks what no
section can check alone. What cannot be, or would mislead, is an error; what merely is of no use to
a run, as an overlay may bring it, `keomni_rl.config.idle` names.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, FiniteFloat, field_validator, model_validator

from keomni_rl.config.placement import EvaluatePlacement, PlacementConfig
from keomni_rl.config.run_dir import RunDir, working_folder
from keomni_rl.config.section import NotNegative, Positive, Section

Beta = Annotated[float, Field(ge=0, lt=1)]
DEFAULT_THINK_WORDS = 50


class ModelConfig(Section):
    """The policy that training or evaluation starts from."""

    path: Path
    """Model folder in either checkpoint layout, or a name on the hub."""
    revision: str | None = None
    """Commit, tag or branch of a model on the hub; null takes its newest."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Of the policy in every engine; the optimizer keeps float32 masters."""


PromptStyle = Literal["think", "no_think", "answer", "direct", "step_by_step"]


class PromptConfig(Section):
    """How a question is put to the model; the same in training and in evaluation."""

    style: PromptStyle = "think"
    """What is asked for after the question and its options. ``think``: a think, then the answer in
    its tags. ``no_think``: the answer in its tags, as Ke-Omni-R words it. ``answer``: the same as
    R1-AQA words it. ``direct``: nothing more. ``step_by_step``: zero-shot chain of thought."""
    think_max_words: NotNegative = DEFAULT_THINK_WORDS
    """The limit that ``think`` names; 0 names none."""
    compat: bool = False
    """Spell evaluation prompts as Ke-Omni-R's evaluation does, which differs from its training."""

    @property
    def thinks(self) -> bool:
        """Whether a think is asked for, and so expected by the format reward."""
        return self.style == "think"

    @property
    def measured_words(self) -> int:
        """The limit that a think's length is measured against, named in the prompt or not."""
        return self.think_max_words or DEFAULT_THINK_WORDS

    @property
    def has_tags(self) -> bool:
        """Whether the answer is asked for in its tags."""
        return self.style in ("think", "no_think", "answer")


class Source(Section):
    """One file of training questions and how much of it is used."""

    file: Path
    """JSONL or Parquet in the training format."""
    count: Positive | None = None
    """Take this many of its questions at random (seeded) instead of all."""
    weight: float | None = Field(None, gt=0)
    """Its share of the prompts, relative to the other weights; every file has one, or none has."""
    style: PromptStyle | None = None
    """How its questions are put; null takes ``prompt.style``. For supervised training."""

    @model_validator(mode="before")
    @classmethod
    def _accept_a_path(cls, value: Any) -> Any:
        return {"file": value} if isinstance(value, (str, Path)) else value


class DataConfig(Section):
    """Training questions."""

    train: tuple[Source, ...] = Field(min_length=1)
    """Files, each a path or ``{file: path, count: 5000}`` or ``{file: path, weight: 0.5}``. Without
    weights an epoch goes once through all of them; with weights each file has epochs of its own."""
    max_audio_s: float = Field(30.0, gt=0, le=300)
    """A longer clip is an error."""

    @model_validator(mode="after")
    def _all_or_none_are_weighted(self) -> Self:
        if len({source.weight is None for source in self.train}) == 2:
            raise ValueError("train: give every file a weight, or none of them")
        return self


class EngineConfig(Section):
    """A vLLM engine, of a rollout or an evaluator actor."""

    max_model_len: Positive = 2048
    """Tokens of prompt (25 a second of audio) and completion together."""
    max_num_seqs: Positive = 256
    """Completions that one engine works on at once."""
    gpu_memory_utilization: float = Field(0.85, gt=0, le=1)
    """Share of a GPU for weights and KV cache."""
    kv_cache_gib: float = Field(1.0, gt=0)
    """KV cache of an engine without a GPU."""


class RolloutConfig(Section):
    """How completions are sampled."""

    group_size: int = Field(8, ge=2)
    """G, completions of one prompt; advantages need at least 2."""
    max_new_tokens: Positive = 64
    """A completion is cut here; long thinkers lose format and accuracy."""
    temperature: float = Field(1.0, gt=0, le=2)
    """The learner divides logits by it too."""
    in_flight: Literal["keep", "finish"] = "keep"
    """What becomes of completions under way when new weights come: they go on under them, each
    span of tokens with its version, or new weights wait until they have ended."""


class RewardConfig(Section):
    """What a completion is worth."""

    weights: dict[str, FiniteFloat] = Field({"accuracy": 2.0, "format": 1.0}, min_length=1)
    """Name of a reward -> its weight in the sum: accuracy, format, think_length, or one of yours as
    ``module:function`` or ``path/to/file.py:function``."""
    compat: bool = False
    """Accuracy and format exactly as the seeds computed them, math_verify included."""
    math_verify: bool = False
    """An answer that math_verify finds equal to the solution is right too."""
    timeout_s: FiniteFloat = Field(30.0, gt=0)
    """Seconds for one of your rewards over one completion, the import of its module not counted. A
    call that takes longer, or ends its process, is tried once more and then stops the run."""

    @model_validator(mode="after")
    def _has_no_idle_dial(self) -> Self:
        if self.compat and self.math_verify:
            raise ValueError("compat includes math_verify; set one of them")
        return self


class AlgoConfig(Section):
    """The objective."""

    kind: Literal["grpo", "supervised"] = "grpo"
    """Reinforcement of sampled completions, or the likelihood of written ones: a question's answer
    in the form that its prompt asks for, or the row's own ``completions``."""
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
        if self.kind == "supervised" and (self.beta or self.importance_cap is not None):
            raise ValueError(
                "kind: supervised has neither sampler nor reference; set beta: 0 and "
                "importance_cap: null"
            )
        return self


class LoraConfig(Section):
    """Low-rank adapters on the language model's linear layers (arXiv 2106.09685)."""

    rank: Positive = 8
    alpha: Positive = 32
    """The update is scaled by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Of the adapter's input; acts in supervised training only, where nothing was sampled."""
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Names of the linear layers that get one."""


class LearnerConfig(Section):
    """How the policy is optimized (AdamW under DeepSpeed)."""

    trained: Literal["all", "without_audio_tower", "lora"] = "all"
    """What learns: everything, as in the seeds; all but the audio tower; adapters alone."""
    lora: LoraConfig | None = None
    """The adapters; null takes the defaults where ``trained`` is lora."""
    lr: float = Field(1e-6, ge=0)
    lr_schedule: Literal["linear", "constant"] = "linear"
    """Linear decay to 0 at train.max_steps, or none."""
    warmup_steps: NotNegative = 0
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    zero_stage: Literal[0, 1, 2, 3] = 3
    offload_optimizer: bool = False
    """Keep optimizer states in host memory."""
    gradient_checkpointing: bool = False
    micro_batch_tokens: Positive = 8192
    """Padded tokens of the rows that one forward takes; a longer row goes alone."""

    @model_validator(mode="after")
    def _has_no_idle_dial(self) -> Self:
        if self.lora and self.trained != "lora":
            raise ValueError(f"lora does nothing with trained: {self.trained}; set trained: lora")
        return self


class TrainConfig(Section):
    """The loop."""

    max_steps: Positive = 6400
    groups_per_step: Positive = 8
    max_staleness: NotNegative = 0
    """Versions a group's weights may be behind when it is trained on; 0 is synchronous GRPO."""
    too_stale: Literal["reject", "train"] = "reject"
    """A group that is older all the same, since a rollout actor missed an update: sample it anew,
    or train on it, corrected as ``algo.importance_cap`` says."""
    dynamic_sampling: bool = False
    """Replace groups whose rewards are all equal."""
    seed: int = Field(42, ge=0)
    """Of data order and sampling."""


class AnsweringConfig(Section):
    """Which questions are put to the evaluators, and how they answer."""

    file: Path
    """MMAU's official JSON or a file of that form, or JSONL of the training format."""
    max_new_tokens: Positive = 256
    temperature: float = Field(0.0, ge=0, le=2)
    """0 is greedy."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Of sampling: the smallest set of tokens with this probability."""
    top_k: NotNegative = 0
    """Of sampling: this many likeliest tokens; 0 keeps all."""
    samples: Positive = 1
    """Answers to each question; their mean and their majority are reported."""
    seed: int = Field(0, ge=0)
    """Of sampling."""
    max_in_flight: Positive = 64
    """Questions that one evaluator works on at once."""

    @model_validator(mode="after")
    def _has_no_idle_dial(self) -> Self:
        if self.temperature == 0 and (self.samples > 1 or self.top_p < 1 or self.top_k):
            raise ValueError(
                "samples, top_p and top_k do nothing to greedy answers; set a temperature above 0"
            )
        return self


class EvaluationConfig(AnsweringConfig):
    """Evaluation during training, in the background."""

    every_steps: NotNegative = 100
    """0 evaluates before and after training only."""


class CheckpointConfig(Section):
    """What is kept to resume from."""

    every_steps: Positive = 100
    keep: Positive = 2
    """Newest checkpoints that stay."""


class FaultsConfig(Section):
    """What is done about processes that die or hang."""

    hang_s: float = Field(300.0, gt=0)
    """Seconds without any answer before an actor that has work counts as hung, at least; ten times
    the longest piece of work so far if that is more."""
    learner_restarts: int = Field(3, ge=0)
    """Times that a lost learner is started anew from the last checkpoint before the run stops."""


class WandbConfig(Section):
    """Where a run is shown at W&B; its key comes from the environment or ``wandb login``."""

    project: str = "keomni_rl"
    entity: str | None = None
    """User or team; null takes the key's own."""
    name: str | None = None
    """Of the run; null takes that of its folder."""


class MlflowConfig(Section):
    """Where a run is shown at MLflow; user and password come from the environment."""

    experiment: str = "keomni_rl"
    tracking_uri: str | None = None
    """Of the server; null takes ``MLFLOW_TRACKING_URI`` or, without that, ``mlflow/`` in the run's
    folder."""
    name: str | None = None
    """Of the run; null takes that of its folder."""

    @field_validator("tracking_uri")
    @classmethod
    def _holds_no_secret(cls, uri: str | None) -> str | None:
        if uri is not None and "@" in uri:
            raise ValueError(
                "a URL with a user or a password in it, which files and logs would show; set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment"
            )
        return uri


class ObserveConfig(Section):
    """What is written for people."""

    tensorboard: bool = True
    wandb: WandbConfig | None = None
    """Show metrics at W&B too, as ``{project: NAME}``; null does not."""
    mlflow: MlflowConfig | None = None
    """Show metrics at MLflow too, as ``{experiment: NAME}``; null does not."""
    rollout_groups: NotNegative = 4
    """Groups of each step kept in rollouts/ for reading."""


class RunConfig(Section):
    """A whole training run."""

    run_dir: RunDir
    """Folder that all results go to, or its URL (s3://BUCKET/FOLDER, gs://BUCKET/FOLDER); one in
    use is refused unless resumed."""
    model: ModelConfig
    data: DataConfig
    prompt: PromptConfig = PromptConfig()
    engine: EngineConfig = EngineConfig()
    rollout: RolloutConfig = RolloutConfig()
    reward: RewardConfig = RewardConfig()
    algo: AlgoConfig = AlgoConfig()
    learner: LearnerConfig = LearnerConfig()
    train: TrainConfig = TrainConfig()
    evaluation: EvaluationConfig | None = None
    """null evaluates nothing."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    placement: PlacementConfig = PlacementConfig()
    faults: FaultsConfig = FaultsConfig()
    observe: ObserveConfig = ObserveConfig()

    @property
    def folder(self) -> Path:
        """Where the driver reads and writes: ``run_dir``, or the local mirror of its URL."""
        return working_folder(self.run_dir)

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        if self.train.groups_per_step < self.placement.learner.actors:
            raise ValueError(
                f"train.groups_per_step: {self.train.groups_per_step} is fewer than "
                f"placement.learner.actors: {self.placement.learner.actors}; a rank needs a group"
            )
        if self.algo.kind == "grpo":
            _check_room("rollout", self.rollout.max_new_tokens, self.engine)
        if self.evaluation:
            _check_room("evaluation", self.evaluation.max_new_tokens, self.engine)
        if self.algo.kind == "grpo" and not self.prompt.has_tags:
            raise ValueError(
                f"prompt.style: {self.prompt.style} asks for no answer tags, which the rewards "
                "read; train with think, no_think or answer"
            )
        self._check_supervised()
        if self.placement.colocated:
            self._check_colocated()
        return self

    def _check_colocated(self) -> None:
        if self.train.max_staleness or self.algo.kind == "supervised":
            raise ValueError(
                "placement.colocated: true lets rollouts and learner take turns, so that neither "
                "works ahead; set train.max_staleness: 0 and algo.kind: grpo, or colocated: false"
            )
        if self.learner.zero_stage != 3:
            raise ValueError(
                "placement.colocated: true needs learner.zero_stage: 3, which can sleep"
            )
        if self.placement.learner.gpus and not self.learner.offload_optimizer:
            raise ValueError(
                "placement.colocated: true needs learner.offload_optimizer: true, so that a "
                "learner that sleeps leaves its GPU to the rollouts"
            )

    def _check_supervised(self) -> None:
        is_supervised = self.algo.kind == "supervised"
        if is_supervised and (self.train.max_staleness or self.train.dynamic_sampling):
            raise ValueError(
                "train.max_staleness and train.dynamic_sampling do nothing in supervised training; "
                "set them to 0 and false"
            )
        if is_supervised and self.rollout.temperature != 1:
            raise ValueError(
                f"rollout.temperature: {self.rollout.temperature:g} would divide the logits that "
                "supervised training takes the likelihood of; set it to 1"
            )
        if not is_supervised and self.learner.lora and self.learner.lora.dropout:
            raise ValueError(
                "learner.lora.dropout would make the learner score other tokens than were sampled; "
                "set it to 0, or train with algo.kind: supervised"
            )
        if not is_supervised and any(source.style for source in self.data.train):
            raise ValueError(
                "data.train: a style of one file is for supervised training; the rewards go by "
                "prompt.style"
            )

    @property
    def slots(self) -> int:
        """Groups that may be alive at once; written ones do not age, so they are made ahead."""
        steps = 2 if self.algo.kind == "supervised" else self.train.max_staleness + 1
        return steps * self.train.groups_per_step


class EndpointConfig(Section):
    """A model behind an OpenAI-compatible server, which gets audio as base64."""

    url: str
    """Of the API, for example http://127.0.0.1:8000/v1."""
    model: str
    """The name that the server knows it by."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable with the key; the key itself never enters a file."""
    requests_per_minute: Positive | None = None
    """No more than this of each evaluator; null sets no limit."""
    timeout_s: float = Field(120.0, gt=0)
    """Of one request."""
    max_attempts: Positive = 5
    """Requests for one answer before it counts as failed."""


class EvaluateConfig(Section):
    """A whole evaluation, without training."""

    run_dir: RunDir
    """Folder that predictions and summary go to, or its URL; one in use is refused unless
    resumed."""
    model: ModelConfig | None = None
    endpoint: EndpointConfig | None = None
    """Evaluate a served model instead of ``model``."""
    evaluation: AnsweringConfig
    prompt: PromptConfig = PromptConfig()
    engine: EngineConfig = EngineConfig()
    max_audio_s: float | None = Field(None, gt=0, le=300)
    """A question whose clip is longer counts as failed; null takes what the model hears."""
    placement: EvaluatePlacement = EvaluatePlacement()
    faults: FaultsConfig = FaultsConfig()

    @property
    def folder(self) -> Path:
        """Where the driver reads and writes: ``run_dir``, or the local mirror of its URL."""
        return working_folder(self.run_dir)

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        if (self.model is None) == (self.endpoint is None):
            raise ValueError(
                "give either model (a folder or hub name) or endpoint (a served one), and set the "
                "other to null"
            )
        _check_room("evaluation", self.evaluation.max_new_tokens, self.engine)
        return self


def _check_room(section: str, max_new_tokens: int, engine: EngineConfig) -> None:
    if max_new_tokens >= engine.max_model_len:
        raise ValueError(
            f"{section}.max_new_tokens: {max_new_tokens} leaves no room for prompts in "
            f"engine.max_model_len: {engine.max_model_len}"
        )
