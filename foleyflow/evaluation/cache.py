"""Cached results of an evaluation, in memory or in a folder.

The key of a result contains everything that it depends on: hashes of the sounds' content, the
settings, and the code and packages that computed it (`code_sha256`). All results about one sound
are one file, a pack: an evaluation of 15,000 clips writes a few files per clip and not dozens. A
damaged pack counts as missing. Processes may share a folder; if two of them write the same pack at
the same time, the results of the later one remain and the others are computed again.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import inspect
import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foleyflow.errors import DataError
from foleyflow.system.atomic_files import draft_of

logger = logging.getLogger(__name__)

# Packages whose version may change a value
PACKAGES = ("numpy", "scipy", "soxr", "librosa", "mir_eval", "pyloudnorm", "av")
OPEN_PACKS = 512  # in memory at a time, if there is a folder
DEFAULT_PACK = "results"

Entries = dict[str, dict[str, Any]]  # digest of a key -> its result


class ResultCache:
    """Results by key; with a folder they outlive the process. Counts `hits` and `misses`.

    Results are dictionaries of plain values and arrays of finite numbers. `put` keeps them in
    memory; `flush` writes them, and so does the end of the context, if it is used as one.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Takes a folder that the first `flush` creates, or None for results in memory only."""
        if folder is not None and folder.exists() and not folder.is_dir():
            raise DataError(
                f"{folder}: expected a folder for cached results", hint="choose another path"
            )
        self.folder = folder
        self.hits = 0
        self.misses = 0
        self._packs: OrderedDict[str, Entries] = OrderedDict()
        self._changed: set[str] = set()

    def __enter__(self) -> ResultCache:
        return self

    def __exit__(self, *error: object) -> None:
        self.flush()

    def get(self, key: list[Any], pack: str = DEFAULT_PACK) -> dict[str, Any] | None:
        """The result stored under a key; None if there is none.

        Args:
            key: plain values.
            pack: name of the file with all results about one sound.
        """
        value = self._entries(pack).get(_digest(key))
        if value is None:
            self.misses += 1
            return None
        self.hits += 1
        return value

    def has(self, key: list[Any], pack: str = DEFAULT_PACK) -> bool:
        """Whether there is a result; counted as a miss if there is none."""
        found = _digest(key) in self._entries(pack)
        self.misses += not found
        return found

    def put(self, key: list[Any], value: dict[str, Any], pack: str = DEFAULT_PACK) -> None:
        """Store a result.

        Raises:
            ValueError: a number in it is not finite.
        """
        json.dumps(value, allow_nan=False, default=_check_array)
        self._entries(pack)[_digest(key)] = value
        self._changed.add(pack)

    def flush(self) -> None:
        """Write the packs with new results, each atomically."""
        for pack in sorted(self._changed):
            self._write(pack)
        self._changed.clear()

    def _entries(self, pack: str) -> Entries:
        """The results of a pack, read when it is first needed."""
        if pack in self._packs:
            self._packs.move_to_end(pack)
            return self._packs[pack]
        entries = {} if self.folder is None else _read_pack(_pack_path(self.folder, pack))
        self._packs[pack] = entries
        if self.folder is not None and len(self._packs) > OPEN_PACKS:
            oldest = next(iter(self._packs))
            if oldest in self._changed:
                self._write(oldest)
                self._changed.discard(oldest)
            del self._packs[oldest]
        return entries

    def _write(self, pack: str) -> None:
        if self.folder is None:
            return
        path = _pack_path(self.folder, pack)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"pack": pack, "results": self._packs[pack]}
        text = json.dumps(content, allow_nan=False, default=_encode_array)
        with draft_of(path) as draft:
            draft.write_text(text, encoding="utf-8")


def cached(
    cache: ResultCache | None,
    key: Callable[[], list[Any]],
    compute: Callable[[], dict[str, Any]],
    pack: str = DEFAULT_PACK,
) -> dict[str, Any]:
    """The result stored under a key, else the computed one, which is then stored."""
    if cache is None:
        return compute()
    lookup = key()
    found = cache.get(lookup, pack)
    if found is None:
        found = compute()
        cache.put(lookup, found, pack)
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


def _digest(key: list[Any]) -> str:
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:40]


def _pack_path(folder: Path, pack: str) -> Path:
    digest = hashlib.sha256(pack.encode()).hexdigest()
    return folder / digest[:2] / f"{digest[2:34]}.json"


def _read_pack(path: Path) -> Entries:
    """The results in a file, with their arrays; none if it is missing or damaged."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"), object_hook=_decode_array)["results"]
        if not all(isinstance(value, dict) for value in results.values()):
            raise ValueError("a result is no dictionary")
        return dict(results)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("%s: damaged, recomputed (%s)", path, type(error).__name__)
        return {}


def _check_array(value: Any) -> str:
    """Refuse what cannot be written: anything but an array of finite numbers."""
    if not isinstance(value, np.ndarray) or not np.isfinite(value).all():
        raise ValueError(f"{type(value).__name__} that is not JSON compliant, or not finite")
    return ""


def compact(array: NDArray[Any]) -> NDArray[Any]:
    """An array in 32 bits if they represent it exactly, else in 64 bits."""
    narrow = array.astype(np.float32)
    return narrow if np.array_equal(narrow, array) else array.astype(np.float64)


def _encode_array(array: NDArray[Any]) -> dict[str, Any]:
    """An array as plain values."""
    exact = compact(array)
    data = base64.b85encode(np.ascontiguousarray(exact).tobytes()).decode()
    return {"array": data, "dtype": exact.dtype.str, "shape": list(array.shape)}


def _decode_array(value: dict[str, Any]) -> Any:
    """The inverse of `_encode_array`; other dictionaries are left as they are."""
    if value.keys() != {"array", "dtype", "shape"}:
        return value
    raw = np.frombuffer(base64.b85decode(value["array"]), np.dtype(value["dtype"]))
    return raw.reshape(value["shape"]).copy()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"
