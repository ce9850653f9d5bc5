"""The model card: README.md beside exported weights, in the form that hubs read."""

from keomni_rl.observe.model_card.facts import (
    UNSTATED,
    Base,
    CardFacts,
    License,
    Provenance,
    Used,
)
from keomni_rl.observe.model_card.write import CARD, write_card

__all__ = [
    "CARD",
    "UNSTATED",
    "Base",
    "CardFacts",
    "License",
    "Provenance",
    "Used",
    "write_card",
]
