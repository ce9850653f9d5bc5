"""Work in a process of its own: engines and peaks of memory are one a process."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def in_fresh_process(work: Callable[..., Any], *args: Any) -> Any:
    """What a function returns that runs in a new interpreter."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *args).result()
