"""Tests here run where there are GPUs enough; elsewhere the summary says how many were left out."""

import pytest
import torch

LEFT_OUT = pytest.StashKey[int]()


def _num_gpus(item: pytest.Item) -> int:
    marker = item.get_closest_marker("gpu")
    return marker.args[0] if marker else 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    there = torch.cuda.device_count()
    too_many = [item for item in items if _num_gpus(item) > there]
    items[:] = [item for item in items if item not in too_many]
    config.stash[LEFT_OUT] = len(too_many)
    if too_many:
        config.hook.pytest_deselected(items=too_many)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if num_left_out := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(
            f"tests/gpu: {num_left_out} left out, which need more CUDA GPUs than the "
            f"{torch.cuda.device_count()} of this machine"
        )
