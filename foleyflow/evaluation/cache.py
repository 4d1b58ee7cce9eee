"""A folder of cached results.

The key of a result contains everything that it depends on: hashes of the sounds' content, the
settings, and the code and packages that computed it (`code_sha256`). Each result is one JSON
file; a damaged one counts as missing.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import logging
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from foleyflow.errors import DataError

logger = logging.getLogger(__name__)

# Packages whose version may change a value
PACKAGES = ("numpy", "scipy", "soxr", "librosa", "mir_eval", "pyloudnorm", "av")


class ResultCache:
    """A folder of results by key, created by the first `put`; counts `hits` and `misses`."""

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise DataError(
                f"{folder}: expected a folder for cached results", hint="choose another path"
            )
        self.folder = folder
        self.hits = 0
        self.misses = 0

    def get(self, key: list[Any]) -> dict[str, Any] | None:
        """The result stored under a key; None if there is none."""
        path, value = self._path(key), None
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            value = entry["value"] if entry["key"] == key else None
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s: damaged, recomputed (%s)", path, type(error).__name__)
        if not isinstance(value, dict):
            self.misses += 1
            return None
        self.hits += 1
        return value

    def put(self, key: list[Any], value: dict[str, Any]) -> None:
        """Store a result; its file is written atomically."""
        from foleyflow.weights import write_atomically

        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"key": key, "value": value}, allow_nan=False))

    def _path(self, key: list[Any]) -> Path:
        digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest[2:]}.json"


def cached(
    cache: ResultCache | None, key: Callable[[], list[Any]], compute: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """The result stored under a key, else the computed one, which is then stored."""
    if cache is None:
        return compute()
    lookup = key()
    found = cache.get(lookup)
    if found is None:
        found = compute()
        cache.put(lookup, found)
    return found


@functools.cache
def code_sha256(*modules: ModuleType) -> str:
    """Hash of the source of some modules and of the versions of the packages they use."""
    digest = hashlib.sha256()
    for module in modules:
        digest.update(inspect.getsource(module).encode())
    for package in PACKAGES:
        digest.update(f"{package} {_version(package)}\n".encode())
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"
