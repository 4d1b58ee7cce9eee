"""From a model folder to its networks: the one place that pairs stored records with classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from foleyflow.alignment.model import Alignment, AlignmentConfig
from foleyflow.codec.autoencoder import Codec, CodecConfig
from foleyflow.encoders import catalogue
from foleyflow.encoders.frame_adapter import AdaptedVideo, FrameAdapter, FrameAdapterConfig
from foleyflow.encoders.motion_encoder import MotionEncoder, MotionEncoderConfig
from foleyflow.encoders.visible_audio_mae import VisibleSound, VisibleSoundConfig
from foleyflow.errors import CheckpointError
from foleyflow.flow.transformer import FlowConfig, FlowTransformer
from foleyflow.weights import CONFIG_NAME, load_into, read_record

EMBEDDED = Path(__file__).parent / "assets" / "model"


def model_folder(source: str | Path | None) -> Path:
    """Where a model is.

    Args:
        source: None or "embedded" for the one that ships with foleyflow, else a folder.

    Raises:
        CheckpointError: no such model.
    """
    if source is None or str(source) == "embedded":
        return EMBEDDED
    folder = Path(source)
    if not (folder / CONFIG_NAME).is_file():
        raise CheckpointError(
            f"model {str(source)!r}: expected 'embedded' or a folder with {CONFIG_NAME}",
            hint="`foleyflow doctor` lists the models at hand",
        )
    return folder


def load_codec_config(folder: Path) -> CodecConfig:
    """The shape of a model folder's codec."""
    config: CodecConfig = _config(CodecConfig, folder, "codec", read_record(folder, "codec").config)
    return config


def load_codec(folder: Path) -> Codec:
    """The codec of a model folder, ready to encode and decode."""
    codec = Codec(load_codec_config(folder))
    load_into(codec, folder, "codec")
    return codec


def published_encoder(folder: Path) -> str | None:
    """The published encoder that a model folder's aligner sees through; None if it has its own."""
    name: str | None = _aligner_record(folder)["encoder"].get("published")
    return name


def load_aligner(folder: Path) -> Alignment:
    """The aligner of a model folder with its frame encoder, or the adapter of a published one."""
    stored = _aligner_record(folder)
    encoder: nn.Module
    if "published" in stored["encoder"]:
        encoder = FrameAdapter(_config(FrameAdapterConfig, folder, "align", stored["encoder"]))
    else:
        encoder = MotionEncoder(_config(MotionEncoderConfig, folder, "align", stored["encoder"]))
    student = None
    if "student" in stored:
        shape = _config(VisibleSoundConfig, folder, "align", stored["student"])
        student = VisibleSound(catalogue.sound_encoder(shape.published).trunk(), shape)
    config = _config(AlignmentConfig, folder, "align", stored["model"])
    aligner = Alignment(config, encoder=encoder, student=student)
    load_into(aligner, folder, "align")
    return aligner


def load_seeing_aligner(folder: Path, weights_dir: Path | None = None) -> Alignment:
    """The aligner of a model folder that takes frames, whichever encoder it was trained over.

    Args:
        folder: of the model.
        weights_dir: where the published encoder's weights lie, if it needs one; None for
            ~/.cache/foleyflow/encoders.

    Raises:
        CheckpointError: the weights of either are missing or don't fit.
    """
    aligner = load_aligner(folder)
    if isinstance(aligner.encoder, FrameAdapter):
        published = catalogue.video_encoder(aligner.encoder.config.published)
        frozen = catalogue.load_encoder(published, weights_dir or catalogue.default_folder())
        aligner.encoder = AdaptedVideo(frozen, aligner.encoder, rate_hz=published.rate_hz)
    return aligner.eval()


def load_flow(folder: Path) -> FlowTransformer:
    """The flow of a model folder."""
    flow = FlowTransformer(_config(FlowConfig, folder, "flow", read_record(folder, "flow").config))
    load_into(flow, folder, "flow")
    return flow


def part_folder(flow_folder: Path, name: str) -> Path:
    """Where the codec or aligner that a flow was trained with lies.

    Args:
        flow_folder: model folder of the flow.
        name: "codec" or "align".

    Returns:
        that folder where it holds them all, else the one that the flow's training was told.

    Raises:
        CheckpointError: in neither.
    """
    own = json.loads((flow_folder / CONFIG_NAME).read_text(encoding="utf-8"))["components"]
    told = trained_with(flow_folder).get(name)
    for folder in (flow_folder if name in own else None, told):
        if folder is not None and (Path(folder) / f"{name}.safetensors").is_file():
            return Path(folder)
    raise CheckpointError(
        f"{flow_folder}: no {name} in it, nor in {told}, where its training had it",
        hint="give a folder that holds codec, align and flow",
    )


def trained_with(flow_folder: Path) -> dict[str, Any]:
    """The settings that a flow was trained with; empty where its record does not say."""
    return dict(read_record(flow_folder, "flow").provenance.get("settings", {}))


def trained_path(flow_folder: Path) -> str:
    """The path from noise to latents that a flow learnt, as `flow.sampling.sample` takes it."""
    return str(trained_with(flow_folder).get("objective", {}).get("path", "linear"))


def trained_segments(flow_folder: Path) -> int | None:
    """Segments of the windows that a flow was trained on; None where its record does not say."""
    segments: int | None = trained_with(flow_folder).get("windows", {}).get("segments")
    return segments


def _aligner_record(folder: Path) -> dict[str, Any]:
    stored = read_record(folder, "align").config
    if not {"model", "encoder"} <= stored.keys():
        raise CheckpointError(
            f"{folder}: the aligner's config lacks 'model' or 'encoder'",
            hint="use the foleyflow version that wrote it",
        )
    return stored


def _config(kind: type, folder: Path, name: str, stored: dict[str, Any]) -> Any:
    """A config dataclass from JSON, where lists stand for tuples."""
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()})
    except TypeError as error:
        raise CheckpointError(
            f"{folder / CONFIG_NAME}: config of {name!r}: {error}",
            hint="use the foleyflow version that wrote it",
        ) from error
