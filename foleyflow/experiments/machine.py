"""The machine and code that an experiment runs on, and work in a separate process."""

from __future__ import annotations

import multiprocessing
import platform
import resource
import subprocess
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from foleyflow.errors import FoleyflowError, UsageError
from foleyflow.parallel.precision import precision_on
from foleyflow.parallel.threads import available_cores
from foleyflow.system.processor import feature_text, processor_features, processor_name


def machine() -> dict[str, str | int]:
    """Processor, cores, threads, precision and versions, for a report."""
    return {
        "cpu": processor_name(),
        "cpu_features": feature_text(processor_features()),
        "precision": precision_on(torch.device("cpu")),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "os": platform.platform(),
    }


def code_commit() -> str | None:
    """The commit of foleyflow, with "-dirty" after changes; None outside a git checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def peak_rss_mb() -> float:
    """Peak resident memory of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_new_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of an importable function in a new process, whose peak memory is its own.

    Raises:
        FoleyflowError: with the message of the one that the function raised.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        result, error = pool.submit(_result_or_error, function, arguments).result()
    if error is not None:
        kind, message, hint = error
        raise kind(message, hint=hint)
    return result


def _result_or_error(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """A pair of which one is None; errors of some classes can't be sent between processes."""
    try:
        return function(*arguments), None
    except FoleyflowError as error:
        kind = UsageError if isinstance(error, UsageError) else FoleyflowError
        return None, (kind, str(error), error.hint)
