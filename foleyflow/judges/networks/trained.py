"""Load the networks that `foleyflow train judge` trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foleyflow.encoders.motion_encoder import MotionEncoder, MotionEncoderConfig
from foleyflow.errors import CheckpointError
from foleyflow.judges.networks.sync import Sync, SyncConfig
from foleyflow.judges.networks.tagger import Tagger, TaggerConfig
from foleyflow.weights import CONFIG_NAME, load_into, read_record


def load_tagger(folder: Path) -> Tagger:
    """Load the tagger from a folder with config.json and tagger.safetensors.

    Raises:
        CheckpointError: a file is missing, damaged or of another version.
    """
    tagger = Tagger(_config(TaggerConfig, folder, "tagger", read_record(folder, "tagger").config))
    load_into(tagger, folder, "tagger")
    return tagger.requires_grad_(False)


def load_sync(folder: Path) -> Sync:
    """Load the judge of synchrony and its frame encoder; errors as for `load_tagger`."""
    stored = read_record(folder, "sync").config
    encoder = MotionEncoder(_config(MotionEncoderConfig, folder, "sync", stored.get("encoder")))
    sync = Sync(_config(SyncConfig, folder, "sync", stored.get("model")), encoder=encoder)
    load_into(sync, folder, "sync")
    return sync.requires_grad_(False)


def _config(kind: type, folder: Path, name: str, stored: Any) -> Any:
    """A config dataclass from its JSON, in which tuples are lists."""
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()})
    except (TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{folder / CONFIG_NAME}: config of {name!r}: {error}",
            hint="use the foleyflow version that wrote it",
        ) from error
