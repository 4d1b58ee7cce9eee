"""A Ray cluster on this machine, whose workers find the tests' modules."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from foleyflow.parallel.ray_cluster import RayCluster

TESTS = Path(__file__).resolve().parents[1]
PYTHON_PATH = os.pathsep.join([str(TESTS.parent), str(TESTS)])


@contextmanager
def local_cluster(*, gpus: int = 0, setup: str | None = None) -> Iterator[RayCluster]:
    """A connection to a new cluster of two processors; `gpus` are only counted, not there.

    `setup` names a function "MODULE.NAME" that each worker calls when it starts.

    This process uses one thread meanwhile, as Ray's workers do, so that sums are rounded equally.
    """
    import ray

    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "RAY_USAGE_STATS_ENABLED")}
    os.environ.update(PYTHONPATH=PYTHON_PATH, RAY_USAGE_STATS_ENABLED="0")
    settings = {} if setup is None else {"runtime_env": {"worker_process_setup_hook": setup}}
    ray.init(num_cpus=2, num_gpus=gpus, include_dashboard=False, log_to_driver=False, **settings)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with RayCluster("auto") as started:
        pass
    assert ray.is_initialized()  # an existing connection is kept
    yield started
    torch.set_num_threads(threads)
    ray.shutdown()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
