"""Model folders: one safetensors file and one JSON record per component.

    model/
      codec.safetensors   align.safetensors   flow.safetensors
      config.json         {"format": 2, "components": {"codec": {format, kind, config, ...}}}
      calibration.json    optional, of the aligner: see `inference.calibration`

Loading is strict: all tensors must be present, fit and be used, and the file must have the recorded
hash. Nothing is unpickled. The caller chooses the class of a component; no class names are stored.
Folders of older formats are read through `weights_migration`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from foleyflow.errors import CheckpointError
from foleyflow.system.atomic_files import draft_of
from foleyflow.weights_migration import FORMAT, READABLE_FORMATS, migrate_config, migrate_tensors

CONFIG_NAME = "config.json"
CALIBRATION_NAME = "calibration.json"  # valid for one aligner, and replaced with it
COPY_AGAIN = "copy the complete model folder again"
OTHER_VERSION = "use the foleyflow version that wrote it"
Network = TypeVar("Network", bound=nn.Module)
Config = TypeVar("Config")


@dataclass(frozen=True)
class Record:
    """The record of one component in config.json."""

    kind: str  # "codec", "align" or "flow"
    config: dict[str, Any]  # plain JSON, with the current field names
    sha256: str  # of the safetensors file
    provenance: dict[str, Any]  # recipe, steps, data fingerprint, code version, measured results
    format: int = FORMAT  # of the stored tensor names


def write_atomically(path: Path, text: str) -> None:
    """Write a text file that appears completely or not at all."""
    with draft_of(path, one_writer=True) as draft:
        draft.write_text(text, encoding="utf-8")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def save_component(
    folder: Path,
    name: str,
    *,
    module: nn.Module,
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
    dtype: torch.dtype = torch.float16,
) -> None:
    """Add or replace one component of a model folder, which is created if it is missing.

    `name` is the file name without suffix, and the component's kind. `config` must suffice to build
    the module again; it and `provenance`, how the weights were trained, must be JSON-able.
    Floating-point tensors are stored as `dtype` and loaded as float32. The calibration of an
    aligner that is replaced is removed.

    Raises:
        CheckpointError: a tensor is not finite, or overflows `dtype`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored: dict[str, Tensor] = {}
    for key, tensor in module.state_dict().items():
        value = tensor.detach().cpu()
        value = value.to(dtype) if value.is_floating_point() else value
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise CheckpointError(
                f"{name}: tensor {key!r} is not finite as {dtype}",
                hint="train again from the last good checkpoint, or store another dtype",
            )
        stored[key] = value.contiguous()
    if name == "align":
        (folder / CALIBRATION_NAME).unlink(missing_ok=True)
    path = folder / f"{name}.safetensors"
    with draft_of(path, one_writer=True) as draft:
        save_file(stored, draft)
    record = Record(name, dict(config), file_sha256(path), dict(provenance))
    add_components(folder, {name: vars(record)})


def read_record(folder: Path, name: str) -> Record:
    """Read the record of one component.

    Raises:
        CheckpointError: the folder, its config.json or the component is missing or damaged.
    """
    components = _read_components(folder)
    if name not in components:
        raise CheckpointError(
            f"{folder}: holds {sorted(components)}, expected a component {name!r}",
            hint="give a folder that holds codec, align and flow, or leave --model out",
        )
    where = f"{folder / CONFIG_NAME}: record of {name!r}"
    try:
        record = Record(**components[name])
    except TypeError as error:
        raise CheckpointError(f"{where}: {error}", hint=COPY_AGAIN) from error
    _check_format(where, record.format)
    config = migrate_config(name, record.config, record.format, where=where)
    return replace(record, config=config)


def config_from_json(kind: type[Config], folder: Path, name: str, stored: Any) -> Config:
    """The config dataclass of component `name` in `folder`, whose JSON stores tuples as lists.

    Raises:
        CheckpointError: its fields are not those of `kind`.
    """
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()})
    except (TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{folder / CONFIG_NAME}: config of {name!r}: {error}", hint=OTHER_VERSION
        ) from error


def load_into(
    module: Network, folder: Path, name: str, *, reinitialised_prefixes: tuple[str, ...] = ()
) -> Network:
    """Load the stored weights of a component into a module, strictly, as float32.

    The module keeps its own tensors whose names start with one of `reinitialised_prefixes`; all
    others must have the same shape. Returns the module, in eval mode.

    Raises:
        CheckpointError: a missing or damaged file, a wrong hash, or tensors that don't fit.
    """
    record = read_record(folder, name)
    path = checked_file(folder, name, record.sha256)
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(
            f"{path}: not a safetensors file ({error})", hint=COPY_AGAIN
        ) from error
    tensors = migrate_tensors(name, tensors, record.format)
    wanted = module.state_dict()
    tensors |= {k: v for k, v in wanted.items() if k.startswith(reinitialised_prefixes)}
    missing, foreign = sorted(wanted.keys() - tensors), sorted(tensors.keys() - wanted)
    wrong = [k for k in wanted.keys() & tensors.keys() if wanted[k].shape != tensors[k].shape]
    if missing or foreign or wrong:
        raise CheckpointError(
            f"{path}: does not fit its config: missing {missing[:3]}, foreign {foreign[:3]}, "
            f"of another shape {wrong[:3]}",
            hint="weights and config.json must come from the same run",
        )
    module.load_state_dict(tensors)  # converts each tensor to the type of its parameter
    return module.eval()


def read_untrusted(path: Path, *, hint: str) -> Any:
    """Read a third-party file (safetensors or torch.save) without executing any code in it.

    A file that is damaged, or contains more than tensors and plain values, raises a CheckpointError
    with this hint.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise many types of errors
        first_line = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"{path}: can't be read as tensors alone ({type(error).__name__}: {first_line})",
            hint=hint,
        ) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a third-party file without executing any code in it.

    A file of torch.save contains one dictionary of tensors, directly or under the key "model" or
    "state_dict"; any other file raises a CheckpointError.
    """
    content = read_untrusted(path, hint="download it again from where it is published")
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise CheckpointError(f"{path}: contains no dictionary of tensors")
    return dict(content)


def merge_models(folders: Sequence[Path], out: Path) -> list[str]:
    """Copy all components of several model folders into one, with their records.

    The calibration of an aligner, if it has one, is copied with it. Components in `out` are
    replaced by new ones of the same name. Returns the sorted names of the components in `out`.

    Raises:
        CheckpointError: two folders hold the same component, or a component is missing or damaged.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        for name in _read_components(folder):
            if name in found:
                raise CheckpointError(
                    f"{folder}: holds {name!r}, as does {found[name]}",
                    hint="give each component once",
                )
            found[name] = folder
    for name, folder in found.items():
        checked_file(folder, name, read_record(folder, name).sha256)
    out.mkdir(parents=True, exist_ok=True)
    for name, folder in found.items():
        with draft_of(out / f"{name}.safetensors", one_writer=True) as draft:
            shutil.copyfile(folder / f"{name}.safetensors", draft)
    if "align" in found:
        _copy_calibration(found["align"], out)
    return add_components(out, {name: _read_components(found[name])[name] for name in found})


def _copy_calibration(source: Path, out: Path) -> None:
    """Copy the calibration of an aligner; if it has none, remove that of the replaced aligner."""
    if not (source / CALIBRATION_NAME).exists():
        (out / CALIBRATION_NAME).unlink(missing_ok=True)
        return
    with draft_of(out / CALIBRATION_NAME, one_writer=True) as draft:
        shutil.copyfile(source / CALIBRATION_NAME, draft)


def checked_file(folder: Path, name: str, sha256: str) -> Path:
    """The file of a component with this hash.

    Raises:
        CheckpointError: it is missing or has another hash.
    """
    path = folder / f"{name}.safetensors"
    if not path.exists():
        raise CheckpointError(f"{path}: no such file", hint=COPY_AGAIN)
    if file_sha256(path) != sha256:
        raise CheckpointError(
            f"{path}: the hash differs from the one in {CONFIG_NAME}",
            hint="the file is damaged or was replaced; " + COPY_AGAIN,
        )
    return path


def _check_format(where: str | Path, found: Any) -> None:
    if found not in READABLE_FORMATS:
        expected = " or ".join(str(each) for each in READABLE_FORMATS)
        raise CheckpointError(f"{where}: format {found!r}, expected {expected}", hint=OTHER_VERSION)


def add_components(folder: Path, added: Mapping[str, Any]) -> list[str]:
    """Add or replace records in config.json; returns the sorted names of all components."""
    components = _read_components(folder) if (folder / CONFIG_NAME).exists() else {}
    components |= added
    text = json.dumps({"format": FORMAT, "components": components}, indent=1, sort_keys=True)
    write_atomically(folder / CONFIG_NAME, text + "\n")
    return sorted(components)


def _read_components(folder: Path) -> dict[str, Any]:
    """The records of config.json as stored, each with its format."""
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: no {CONFIG_NAME} here, expected a model folder",
            hint="`foleyflow doctor` lists the installed models",
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: not JSON ({error})", hint=COPY_AGAIN) from error
    stored_format = content.get("format") if isinstance(content, dict) else type(content).__name__
    _check_format(path, stored_format)
    if not isinstance(content.get("components"), dict):
        raise CheckpointError(f"{path}: has no components", hint=COPY_AGAIN)
    return {
        name: {"format": stored_format, **record} if isinstance(record, dict) else record
        for name, record in content["components"].items()
    }
