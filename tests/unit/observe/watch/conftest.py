"""A folder of its own in a real store."""

import pytest

from keomni_rl.storage.store import Store


@pytest.fixture
def store(object_store, request) -> Store:
    return Store(f"s3://runs/watch-{request.node.name}/run")
