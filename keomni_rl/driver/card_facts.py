"""What the card of an exported model can tell, gathered from its base and from the run."""

from dataclasses import replace
from pathlib import Path

import yaml
from huggingface_hub.repocard import metadata_load

from keomni_rl.config.schema import ModelConfig
from keomni_rl.driver.provenance import read_provenance
from keomni_rl.models.family import find_family
from keomni_rl.models.layout import layout_of, stored_dtype
from keomni_rl.observe.model_card import CARD, UNSTATED, Base, CardFacts, License

MAX_CARD_BYTES = 2**20


def card_facts(
    folder: Path,
    base: ModelConfig,
    base_folder: Path,
    source: Path,
    *,
    name: str,
    license: License,
) -> CardFacts:
    """Gather what is known.

    Args:
        folder: the model that was written.
        base: the model that gave what the trained weights lack.
        base_folder: where it lies.
        source: the checkpoint or model that the trained weights come from.
        name: what the model is called.
        license: of the model.

    Raises:
        DataError: the run's own files are damaged.
    """
    trained = read_provenance(source)
    if trained.config and trained.config.model != base and base.path != trained.config.model.path:
        began = trained.config.model.path
        note = f"Training began with {_name(began)}; all that it left as it was is the base's."
        trained = replace(trained, notes=(*trained.notes, note))
    layout = layout_of(folder)
    return CardFacts(
        name=name,
        architecture=layout.architecture,
        family=find_family(folder).name,
        layout=layout.name,
        dtype=stored_dtype(folder),
        base=Base(
            name=_name(base.path),
            revision=base.revision,
            is_on_hub=not base.path.is_dir(),
            license=stated_license(base_folder),
        ),
        license=license,
        source=source.name,
        provenance=trained,
    )


def stated_license(model: Path) -> License:
    """The license that a model's own card states; unstated where there is none to be read."""
    card = model / CARD
    if not card.is_file() or card.stat().st_size > MAX_CARD_BYTES:
        return UNSTATED
    try:
        stated = metadata_load(card) or {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError):  # somebody's text, not ours
        return UNSTATED
    keys = ("license", "license_name", "license_link")
    texts = [str(stated[key]) if isinstance(stated.get(key), str) else None for key in keys]
    return License(id=texts[0], name=texts[1], link=texts[2])


def _name(path: Path) -> str:
    """Of a model: on the hub, or else its folder's."""
    return path.resolve().name if path.is_absolute() or path.is_dir() else path.as_posix()
