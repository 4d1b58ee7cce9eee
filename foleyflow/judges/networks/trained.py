"""Load the networks that `foleyflow train judge` trained."""

from __future__ import annotations

from pathlib import Path

from foleyflow.encoders.motion_encoder import MotionEncoder, MotionEncoderConfig
from foleyflow.judges.networks.sync import Sync, SyncConfig
from foleyflow.judges.networks.tagger import Tagger, TaggerConfig
from foleyflow.weights import config_from_json, load_into, read_record


def load_tagger(folder: Path) -> Tagger:
    """Load the tagger from a folder with config.json and tagger.safetensors.

    Raises:
        CheckpointError: a file is missing, damaged or of another version.
    """
    tagger = Tagger(
        config_from_json(TaggerConfig, folder, "tagger", read_record(folder, "tagger").config)
    )
    load_into(tagger, folder, "tagger")
    return tagger.requires_grad_(False)


def load_sync(folder: Path) -> Sync:
    """Load the judge of synchrony and its frame encoder; errors as for `load_tagger`."""
    stored = read_record(folder, "sync").config
    encoder = MotionEncoder(
        config_from_json(MotionEncoderConfig, folder, "sync", stored.get("encoder"))
    )
    sync = Sync(config_from_json(SyncConfig, folder, "sync", stored.get("model")), encoder=encoder)
    load_into(sync, folder, "sync")
    return sync.requires_grad_(False)
