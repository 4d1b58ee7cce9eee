"""From a folder that `foleyflow train judge` wrote to its networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foleyflow.encoders.motion_encoder import MotionEncoder, MotionEncoderConfig
from foleyflow.errors import CheckpointError
from foleyflow.judges.networks.sync import Sync, SyncConfig
from foleyflow.judges.networks.tagger import Tagger, TaggerConfig
from foleyflow.weights import CONFIG_NAME, load_into, read_record


def load_tagger(folder: Path) -> Tagger:
    """The tagger of a folder.

    Args:
        folder: with config.json and tagger.safetensors.

    Raises:
        CheckpointError: missing, damaged, or of another version.
    """
    tagger = Tagger(_config(TaggerConfig, folder, "tagger", read_record(folder, "tagger").config))
    load_into(tagger, folder, "tagger")
    return tagger.requires_grad_(False)


def load_sync(folder: Path) -> Sync:
    """The judge of synchrony of a folder, with its frame encoder.

    Args:
        folder: with config.json and sync.safetensors.

    Raises:
        CheckpointError: missing, damaged, or of another version.
    """
    stored = read_record(folder, "sync").config
    encoder = MotionEncoder(_config(MotionEncoderConfig, folder, "sync", stored.get("encoder")))
    sync = Sync(_config(SyncConfig, folder, "sync", stored.get("model")), encoder=encoder)
    load_into(sync, folder, "sync")
    return sync.requires_grad_(False)


def _config(kind: type, folder: Path, name: str, stored: Any) -> Any:
    """A config dataclass from JSON, where lists stand for tuples."""
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()})
    except (TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{folder / CONFIG_NAME}: config of {name!r}: {error}",
            hint="use the foleyflow version that wrote it",
        ) from error
