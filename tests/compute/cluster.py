"""A Ray cluster on this machine's loopback: a head that does no work and nodes of one processor each."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

STORE_BYTES = 80_000_000
"""Of each node's object store, the least Ray takes; nothing of size is put there."""


@contextlib.contextmanager
def cluster(nodes: int) -> Iterator[Any]:
    """A cluster with so many worker nodes; its ``address`` is on the loopback."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # the loopback, not this machine's address outside
    import ray
    from ray.cluster_utils import Cluster

    logging.getLogger("ray").setLevel(logging.ERROR)
    one = {"node_ip_address": "127.0.0.1", "object_store_memory": STORE_BYTES, "include_log_monitor": False}
    head = {
        **one,
        "num_cpus": 0,
        "include_dashboard": False,
        "no_monitor": True,
        # A lost node is noticed within two seconds instead of a quarter of a minute.
        "_system_config": {
            "health_check_initial_delay_ms": 0,
            "health_check_period_ms": 500,
            "health_check_timeout_ms": 1000,
            "health_check_failure_threshold": 3,
        },
    }
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(nodes):
            made.add_node(num_cpus=1, wait=False, **one)
        made.wait_for_nodes(timeout=60)
        yield made
    finally:
        ray.shutdown()
        made.shutdown()
