"""Builds a network and a processor from what a model folder describes; no code of its is run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError

from keomni_rl.data.audio import NUM_MEL_BINS, WINDOW
from keomni_rl.errors import CheckpointError
from keomni_rl.models.family import read_object
from keomni_rl.models.layout import read_tensors

NO_SENSE = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    StrictDataclassError,
    TypeError,
    ValueError,
)
"""What transformers raises over files that make no sense: it checks little beforehand."""
FEATURES = {"feature_size": NUM_MEL_BINS, "n_fft": WINDOW}
"""What a feature extractor says of its spectrograms."""
TOKENIZER = "tokenizer.json"
VOCABULARY = ("vocab.json", "merges.txt")
EXTRACTORS = ("processor_config.json", "preprocessor_config.json")
DESCRIPTIONS = (
    *EXTRACTORS,
    TOKENIZER,
    "vocab.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
)
"""Files that a processor is made of, all of them JSON objects."""


def load_network(network_class: Any, config: dict[str, Any], path: Path, dtype: torch.dtype) -> Any:
    """A transformers network with the tensors of what is trained; of a talker none is touched.

    Args:
        network_class: of transformers.
        config: its configuration, as a config.json has it.
        path: model folder in any layout.
        dtype: of the weights in memory.

    Raises:
        CheckpointError: the configuration is none, a weight is missing, which transformers would
            make up, or does not fit the configuration.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    tensors = dict(read_tensors(path))
    described = describe_network(network_class, config, path)
    _compare(described, tensors, path)
    with _refused_by_transformers(path, "network"):
        return network_class.from_pretrained(
            None,
            config=described.config,
            state_dict=tensors,
            dtype=dtype,
            attn_implementation="sdpa",
        )


def describe_network(network_class: Any, config: dict[str, Any], path: Path) -> Any:
    """A transformers network without weights: shapes alone, which take no memory whatever they are.

    Args:
        network_class: of transformers.
        config: its configuration, as a config.json has it.
        path: model folder that it comes from, for errors.

    Raises:
        CheckpointError: the configuration is none.
    """
    with _refused_by_transformers(path, "network"):
        known = network_class.config_class.from_dict(config)
        with torch.device("meta"):
            return network_class(known).requires_grad_(True)  # as from_pretrained leaves it


def _compare(network: Any, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    wanted = dict(network.named_parameters())
    if missing := sorted(wanted.keys() - tensors.keys()):
        raise CheckpointError(
            f"{path}: {len(missing)} weights are missing, for example {missing[0]!r}; download or "
            "export it again"
        )
    for name, parameter in wanted.items():
        if parameter.shape != tensors[name].shape:
            raise CheckpointError(
                f"{path}: the weight {name!r} is {tuple(tensors[name].shape)}, and by its "
                f"config.json {tuple(parameter.shape)}; download or export it again"
            )


def load_processor(processor_class: Any, path: Path) -> Any:
    """A transformers processor: tokenizer, feature extractor and chat template.

    Args:
        processor_class: of transformers.
        path: model folder.

    Raises:
        CheckpointError: there is no tokenizer, which transformers would make up, or a file of the
            processor is not what it should be.
    """
    for file in (path / name for name in DESCRIPTIONS):
        if file.is_file():
            description = read_object(file)
            if file.name in EXTRACTORS:
                _refuse_other_features(description, file)
    has_vocabulary = all((path / name).is_file() for name in VOCABULARY)
    if not (path / TOKENIZER).is_file() and not has_vocabulary:
        raise CheckpointError(
            f"{path}: no tokenizer ({TOKENIZER}, or {' and '.join(VOCABULARY)}); finish the "
            "download"
        )
    with _refused_by_transformers(path, "processor"):
        processor = processor_class.from_pretrained(
            path, trust_remote_code=False, local_files_only=True
        )
        processor.tokenizer("a word")  # shows what is wrong with its settings
    return processor


def _refuse_other_features(description: dict[str, Any], file: Path) -> None:
    """Other spectrograms than ours are of no use, and their filters may take any memory."""
    extractor = description.get("feature_extractor", description)
    for key, wanted in FEATURES.items() if isinstance(extractor, dict) else ():
        if (found := extractor.get(key, wanted)) != wanted:
            raise CheckpointError(
                f"{file}: {key} is {found!r:.80}, wanted {wanted}; download the model again"
            )


@contextmanager
def _refused_by_transformers(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not isinstance(error, NO_SENSE) and type(error) is not Exception:  # as tokenizers raises
            raise
        raise CheckpointError(
            f"{path}: its {what} cannot be loaded, for its files do not go together "
            f"({type(error).__name__}: {error!s:.500}); download or export it again"
        ) from error
