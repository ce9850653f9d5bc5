"""What a model card tells, as far as it is known; what is not known is None or empty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from keomni_rl.config import RunConfig
from keomni_rl.evaluation.summary import Summary
from keomni_rl.storage.manifest import RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class License:
    """Under what a model is given away, as hubs put it."""

    id: str | None = None
    """For example apache-2.0, or other; None is not stated."""
    name: str | None = None
    """Of another one."""
    link: str | None = None
    """To its text."""


UNSTATED = License()


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The model that training began with, or that gave what a conversion lacked."""

    name: str
    """On the hub, or that of its folder."""
    revision: str | None
    is_on_hub: bool
    license: License
    """As its own card states it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Questions of one data set in one file that a policy was trained on or that were dropped."""

    file: str
    dataset: str
    """As the questions name it; "" is none."""
    num_questions: int
    """Different ones; one that came in several epochs counts once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How weights were trained."""

    config: RunConfig | None = None
    state: RunState | None = None
    """Where the run was."""
    before: Summary | None = None
    """Evaluation of policy 0."""
    after: Summary | None = None
    """Evaluation of these weights, or of the newest policy before them."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Name -> version at the start of the training."""
    used: Sequence[Used] | None = None
    notes: Sequence[str] = ()
    """What is not known, and why."""

    @property
    def is_of_these_weights(self) -> bool:
        """Whether the last evaluation is of the very weights that are exported."""
        version = self.state and self.state.version
        return self.after is not None and self.after.policy_version == version


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """All that goes into a card."""

    name: str
    architecture: str
    """The class in transformers."""
    family: str
    layout: str
    dtype: str
    base: Base
    license: License
    source: str
    """What the trained weights come from, by name."""
    provenance: Provenance
