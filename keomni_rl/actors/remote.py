"""The one place where plain classes become Ray actors, and where a run joins or starts Ray."""

import logging
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

import ray
from ray._private import ray_constants

from keomni_rl.config.placement import HelperPlacement, RolePlacement
from keomni_rl.errors import ConfigError

Place = HelperPlacement | RolePlacement
MAX_RETRIES = 3
"""Times that one call to a helper is repeated: it may be what its actor dies of."""


def join_ray(address: str | None) -> None:
    """Join a cluster, or start one on this machine, on loopback, that ends with this process.

    Token authentication is on by default in current Ray. For a cluster of its own Ray makes and
    shares the token; to join another one the user's environment has to name it.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = address or os.environ.get("RAY_ADDRESS")
    # Without "local" Ray looks for this machine's last cluster, for minutes if it is gone.
    local = {"address": "local", "include_dashboard": False}
    where: dict[str, Any] = {"address": address} if address else local
    # Ray's switch for desktops: a cluster of one machine, all of whose ports are loopback's.
    usual = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = usual and bool(address)
    try:
        ray.init(
            **where,
            logging_level=logging.ERROR,
            log_to_driver=os.environ.get("KEOMNI_RL_ACTOR_LOGS") == "1",
            configure_logging=True,
        )
    except (ConnectionError, ray.exceptions.AuthenticationError) as error:
        raise ConfigError(
            f"cannot join the Ray cluster at {address or 'this machine'} ({error}); check "
            "placement.address and that RAY_AUTH_MODE=token and the cluster's token are set here"
        ) from error
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = usual
    # Ray takes SIGTERM to itself. Ours leaves through every `finally`, with a shell's exit code.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def start_actor(
    actor_class: type, place: Place, *args: Any, ray_options: Mapping[str, Any], **kwargs: Any
) -> Any:
    """Start one actor with what its role gets; returns its handle at once.

    Ray never restarts an actor by itself: a fresh one must not be given work before it holds the
    current weights, which `keomni_rl.actors.pool` sees to.

    Args:
        actor_class: of it.
        place: its role's.
        args: of its constructor.
        kwargs: of its constructor.
        ray_options: where it goes.
    """
    # Roles that share cores take turns: a thread that waits must sleep, not spin.
    threads = {"OMP_NUM_THREADS": str(place.num_threads)}
    on_cpu = {"env_vars": threads | {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}}
    return (
        ray.remote(actor_class)
        .options(
            num_cpus=place.cpus,
            max_restarts=0,
            runtime_env=None if place.gpus else on_cpu,
            **ray_options,
        )
        .remote(*args, **kwargs)
    )


def start_helper(actor_class: type, place: HelperPlacement, *args: Any, **kwargs: Any) -> Any:
    """Start an actor without an engine, restarted by Ray, its calls repeated.

    Only for actors whose answer depends on nothing but the call.
    """
    return (
        ray.remote(actor_class)
        .options(
            num_cpus=place.cpus,
            label_selector=place.nodes or None,
            max_restarts=-1,
            max_task_retries=MAX_RETRIES,
        )
        .remote(*args, **kwargs)
    )
