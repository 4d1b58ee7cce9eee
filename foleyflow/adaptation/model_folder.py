"""Checks the model that is adapted, and writes the adapted one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from foleyflow import __version__
from foleyflow.encoders.motion_encoder import MotionEncoder
from foleyflow.errors import CheckpointError, ConfigError
from foleyflow.inference.calibration import Calibration, CalibrationOrigin, write_calibration
from foleyflow.pretrained import load_aligner, load_flow, training_settings
from foleyflow.weights import add_components, merge_models, read_record, save_component


def check_adaptable(folder: Path) -> None:
    """Check that the aligner of a model can be trained, and that its flow works without video.

    Raises:
        CheckpointError: a part is missing or damaged.
        ConfigError: the model can't be adapted.
    """
    aligner = load_aligner(folder)
    if not isinstance(aligner.encoder, MotionEncoder) or aligner.student is not None:
        raise ConfigError(
            f"{folder}: its aligner uses a published encoder, expected one with its own encoder",
            hint="adapt the embedded model",
        )
    read_record(folder, "codec")
    if not has_flow(folder):
        return
    flow = load_flow(folder)
    stages = training_settings(folder).get("stages", {})
    learned = stages.get("no_video_fraction", 0.0) or stages.get("sound_fraction", 0.0)
    if not flow.config.cue_materials or (flow.config.uses_video and not learned):
        raise ConfigError(
            f"{folder}: its flow was not trained without video, expected one with cue tracks and "
            "stages.no_video_fraction above 0, because it doesn't know the adapted features",
            hint="adapt the embedded model, or train the flow with "
            "--set stages.no_video_fraction=0.1",
        )


def has_flow(folder: Path) -> bool:
    """Whether a model has a flow."""
    return (folder / "flow.safetensors").is_file()


def write_adapted(
    base: Path,
    trained: Path,
    out: Path,
    *,
    facts: Mapping[str, Any],
    calibration: Calibration,
    origin: CalibrationOrigin,
) -> Path:
    """Write the adapted model, which appears completely or not at all.

    Args:
        base: folder of the model that was adapted: codec, and flow if it has one.
        trained: folder with the new aligner, from the training.
        out: folder to write; an earlier adapted model in it is replaced.
        facts: what the aligner was adapted on, for its record.
        calibration: of the new aligner.
        origin: of the calibration, whose hash of the aligner is filled in.

    Raises:
        CheckpointError: a part is missing or damaged.
    """
    draft = out.with_name(out.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    merge_models([base], draft)
    # The aligner, with a record that names no folder of this machine
    record = read_record(trained, "align")
    settings = {
        name: value
        for name, value in record.provenance["settings"].items()
        if name not in ("model", "simulated")
    }
    save_component(
        draft,
        "align",
        module=load_aligner(trained),
        config=record.config,
        provenance={
            "foleyflow": __version__,
            "recipe": "adapt",
            "init": {"align": read_record(base, "align").sha256},
            "settings": settings,
            "training_hours": record.provenance["training_hours"],
            "adapted": dict(facts),
        },
    )
    # The flow does not know the new features
    if has_flow(draft):
        flow = read_record(draft, "flow")
        config = {**asdict(load_flow(draft).config), "uses_video": False}
        add_components(draft, {"flow": {**vars(flow), "config": config}})
    sha256 = read_record(draft, "align").sha256
    write_calibration(
        draft, calibration, CalibrationOrigin(**{**asdict(origin), "aligner": sha256})
    )
    if out.exists():
        if not is_adapted(out):
            raise CheckpointError(
                f"{out}: exists and is no adapted model", hint="give another --out"
            )
        shutil.rmtree(out)
    draft.replace(out)
    return out


def is_adapted(folder: Path) -> bool:
    """Whether a model folder was written by an adaptation."""
    return "adapted" in read_record(folder, "align").provenance
