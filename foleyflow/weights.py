"""Weights on disk: one safetensors file and one JSON record per component, in a folder.

    model/
      codec.safetensors   align.safetensors   flow.safetensors
      config.json         {"format": 1, "components": {"codec": {kind, config, sha256, provenance}}}

Strict both ways: every tensor must be there, fit, and be used; the file's hash must match its
record. Nothing is ever unpickled. Which class a component is, the caller says: no class names on
disk.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from foleyflow.errors import CheckpointError
from foleyflow.system.atomic_files import draft_of

FORMAT = 1
CONFIG_NAME = "config.json"
COPY_AGAIN = "copy the whole model folder again"


@dataclass(frozen=True, kw_only=True)
class Record:
    """What config.json says of one component.

    Attributes:
        kind: "codec", "align" or "flow".
        config: the component's configuration as plain JSON.
        sha256: of the safetensors file.
        provenance: recipe, steps, data fingerprint, code version, measured results.
    """

    kind: str
    config: dict[str, Any]
    sha256: str
    provenance: dict[str, Any]


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file that appears whole or not at all."""
    with draft_of(path, one_writer=True) as draft:
        draft.write_text(text, encoding="utf-8")


def file_sha256(path: Path) -> str:
    """Hash of a file, hexadecimal."""
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
    """Adds or replaces one component in a model folder.

    Args:
        folder: made if missing.
        name: file name without suffix; also the component's kind.
        module: its state_dict is stored.
        config: JSON-able; enough to build the module again.
        provenance: JSON-able; how the weights were made.
        dtype: floating-point tensors are stored in it (loaded as float32).

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
    path = folder / f"{name}.safetensors"
    with draft_of(path, one_writer=True) as draft:
        save_file(stored, draft)
    components = _read_config(folder)["components"] if (folder / CONFIG_NAME).exists() else {}
    components[name] = {
        "kind": name,
        "config": dict(config),
        "sha256": file_sha256(path),
        "provenance": dict(provenance),
    }
    _write_config(folder, components)


def read_record(folder: Path, name: str) -> Record:
    """What a model folder says of one component.

    Raises:
        CheckpointError: the folder, its config.json or the component is missing or damaged.
    """
    components = _read_config(folder)["components"]
    if name not in components:
        raise CheckpointError(
            f"{folder}: holds {sorted(components)}, expected a component {name!r}",
            hint="give a folder that holds codec, align and flow, or leave --model out",
        )
    try:
        return Record(**components[name])
    except TypeError as error:
        raise CheckpointError(
            f"{folder / CONFIG_NAME}: record of {name!r}: {error}", hint=COPY_AGAIN
        ) from error


def load_into(
    module: nn.Module, folder: Path, name: str, *, reinitialised_prefixes: tuple[str, ...] = ()
) -> nn.Module:
    """Fills a module with stored weights, strictly, as float32.

    Args:
        module: of the same shape, but for what begins anew.
        folder: model folder.
        name: of the component.
        anew: how the names of tensors begin that stay as the module has them.

    Returns:
        The same module, in eval mode.

    Raises:
        CheckpointError: missing or damaged file, wrong hash, tensors that don't fit.
    """
    path = _checked_file(folder, name, read_record(folder, name))
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(
            f"{path}: not a safetensors file ({error})", hint=COPY_AGAIN
        ) from error
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
    module.load_state_dict(tensors)  # each is converted as it is copied into its parameter
    return module.eval()


def read_without_running(path: Path, *, hint: str) -> Any:
    """What someone else's file holds, without running anything of it.

    Args:
        path: safetensors, or a file of torch.save.
        hint: what to do where it can't be read.

    Raises:
        CheckpointError: it is damaged, or holds more than tensors and plain values.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both raise whatever the damage brings about
        first = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"{path}: can't be read as tensors alone ({type(error).__name__}: {first})", hint=hint
        ) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of someone else's file, without running anything that it holds.

    Args:
        path: safetensors, or a file of torch.save with tensors alone (one dictionary, or one under
            the key "model" or "state_dict").

    Raises:
        CheckpointError: it can't be read so.
    """
    content = read_without_running(path, hint="fetch it again from where it is published")
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise CheckpointError(f"{path}: holds no dictionary of tensors")
    return dict(content)


def merge_models(folders: Sequence[Path], out: Path) -> list[str]:
    """Gathers the components of several model folders in one, byte by byte, with their records.

    Args:
        folders: model folders, as training writes them; each adds all of its components.
        out: made if missing; components that it holds already are kept, or replaced by a new one
            of the same name.

    Returns:
        Names of the components that `out` holds now, sorted.

    Raises:
        CheckpointError: two folders hold the same component, or a component is missing or damaged.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        for name in _read_config(folder)["components"]:
            if name in found:
                raise CheckpointError(
                    f"{folder}: holds {name!r}, which {found[name]} holds too",
                    hint="give each component once",
                )
            found[name] = folder
    records = {name: read_record(folder, name) for name, folder in found.items()}
    for name, folder in found.items():
        _checked_file(folder, name, records[name])
    out.mkdir(parents=True, exist_ok=True)
    components = _read_config(out)["components"] if (out / CONFIG_NAME).exists() else {}
    for name, folder in found.items():
        with draft_of(out / f"{name}.safetensors", one_writer=True) as draft:
            shutil.copyfile(folder / f"{name}.safetensors", draft)
        components[name] = asdict(records[name])
    _write_config(out, components)
    return sorted(components)


def _checked_file(folder: Path, name: str, record: Record) -> Path:
    """A component's file, if it is there and is the one that its record means."""
    path = folder / f"{name}.safetensors"
    if not path.exists():
        raise CheckpointError(f"{path}: no such file", hint=COPY_AGAIN)
    if file_sha256(path) != record.sha256:
        raise CheckpointError(
            f"{path}: the hash differs from the one in {CONFIG_NAME}",
            hint="the file is damaged or was replaced; " + COPY_AGAIN,
        )
    return path


def _write_config(folder: Path, components: Mapping[str, Any]) -> None:
    text = json.dumps({"format": FORMAT, "components": components}, indent=1, sort_keys=True)
    write_atomically(folder / CONFIG_NAME, text + "\n")


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: no {CONFIG_NAME} here, expected a model folder",
            hint="`foleyflow doctor` lists the models at hand",
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: not JSON ({error})", hint=COPY_AGAIN) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(
            f"{path}: format {found!r}, expected {FORMAT}",
            hint="use the foleyflow version that wrote it",
        )
    if not isinstance(content.get("components"), dict):
        raise CheckpointError(f"{path}: has no components", hint=COPY_AGAIN)
    return content
