"""A folder of its own in a real store for each test."""

import itertools

import pytest

from keomni_rl.storage.store import Store

NUMBERS = itertools.count()


@pytest.fixture
def store(object_store) -> Store:
    return Store(f"s3://runs/unit-{next(NUMBERS)}/run")
