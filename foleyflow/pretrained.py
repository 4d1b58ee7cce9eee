"""Loads the networks of a model folder; the only place that pairs stored records with classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from foleyflow.alignment.model import Alignment, AlignmentConfig
from foleyflow.codec.autoencoder import AnyCodecConfig, Codec, CodecConfig
from foleyflow.codec.feature_codec import FeatureCodec, FeatureCodecConfig
from foleyflow.codec.interface import SoundCodec
from foleyflow.codec.mel_network import MelCodecConfig
from foleyflow.codec.vocoder import GriffinLim, NeuralVocoder, Vocoder, VocoderConfig
from foleyflow.codec.waveform_network import WaveformCodecConfig
from foleyflow.encoders import catalogue
from foleyflow.encoders.frame_adapter import AdaptedVideo, FrameAdapter, FrameAdapterConfig
from foleyflow.encoders.motion_encoder import MotionEncoder, MotionEncoderConfig
from foleyflow.encoders.visible_audio_mae import VisibleAudioMae, VisibleAudioMaeConfig
from foleyflow.errors import CheckpointError, ConfigError
from foleyflow.flow.transformer import FlowConfig, FlowTransformer
from foleyflow.weights import CONFIG_NAME, OTHER_VERSION, config_from_json, load_into, read_record

EMBEDDED = Path(__file__).parent / "assets" / "model"


def model_folder(source: str | Path | None) -> Path:
    """The folder of a model; None or "embedded" is the model that ships with foleyflow.

    Raises:
        CheckpointError: no such model.
    """
    if source is None or str(source) == "embedded":
        return EMBEDDED
    folder = Path(source)
    if not (folder / CONFIG_NAME).is_file():
        raise CheckpointError(
            f"model {str(source)!r}: expected 'embedded' or a folder with {CONFIG_NAME}",
            hint="pass the `model` folder of a training run, or leave --model out",
        )
    return folder


# Architecture in the record of a codec -> its configuration
CODEC_CONFIGS: dict[str, type[AnyCodecConfig]] = {
    "spectral": CodecConfig,
    "waveform": WaveformCodecConfig,
    "mel": MelCodecConfig,
}


def load_codec_config(folder: Path) -> AnyCodecConfig | FeatureCodecConfig:
    """The configuration of a model folder's codec.

    Raises:
        CheckpointError: its fields are not those of its architecture, or that is not known.
    """
    stored = read_record(folder, "codec").config
    if "mel_decoder" in stored:
        return config_from_json(FeatureCodecConfig, folder, "codec", stored["mel_decoder"])
    name = stored.get("architecture", "spectral")
    if name not in CODEC_CONFIGS:
        raise CheckpointError(
            f"{folder}: a codec of the architecture {name!r}, expected "
            f"{' or '.join(CODEC_CONFIGS)}",
            hint=OTHER_VERSION,
        )
    return config_from_json(CODEC_CONFIGS[name], folder, "codec", stored)


def load_codec(folder: Path) -> SoundCodec:
    """The codec of a model folder: a waveform codec, or a decoder of published features."""
    config = load_codec_config(folder)
    if not isinstance(config, FeatureCodecConfig):
        return load_into(Codec(config), folder, "codec")
    vocoder: Vocoder = GriffinLim()
    if shape := read_record(folder, "codec").config.get("vocoder"):
        vocoder = NeuralVocoder(config_from_json(VocoderConfig, folder, "codec", shape))
    return load_into(FeatureCodec(config, vocoder), folder, "codec")


def load_vocoder(folder: Path) -> NeuralVocoder:
    """The vocoder of a model folder, as `foleyflow train vocoder` exports it."""
    stored = read_record(folder, "vocoder").config
    shape = config_from_json(VocoderConfig, folder, "vocoder", stored)
    return load_into(NeuralVocoder(shape), folder, "vocoder")


def published_encoder(folder: Path) -> str | None:
    """The published video encoder that an aligner was trained with; None if it has its own."""
    encoder = video_encoder_config(folder)
    return encoder.published if isinstance(encoder, FrameAdapterConfig) else None


def video_encoder_config(folder: Path) -> MotionEncoderConfig | FrameAdapterConfig:
    """The configuration of an aligner's video encoder, or of its adapter of a published one."""
    stored = _aligner_record(folder)["encoder"]
    if "published" in stored:
        return config_from_json(FrameAdapterConfig, folder, "align", stored)
    return config_from_json(MotionEncoderConfig, folder, "align", stored)


def load_aligner(folder: Path) -> Alignment:
    """The aligner of a model folder, with its video encoder or the adapter of a published one."""
    stored, shape_of_encoder = _aligner_record(folder), video_encoder_config(folder)
    encoder: nn.Module
    if isinstance(shape_of_encoder, FrameAdapterConfig):
        encoder = FrameAdapter(shape_of_encoder)
    else:
        encoder = MotionEncoder(shape_of_encoder)
    student = None
    if "student" in stored:
        shape = config_from_json(VisibleAudioMaeConfig, folder, "align", stored["student"])
        student = VisibleAudioMae(catalogue.sound_encoder(shape.published).trunk(), shape)
    config = config_from_json(AlignmentConfig, folder, "align", stored["model"])
    return load_into(Alignment(config, encoder=encoder, student=student), folder, "align")


def load_aligner_with_encoder(folder: Path, weights_dir: Path | None = None) -> Alignment:
    """The aligner of a model folder with a complete video encoder, in eval mode.

    The weights of a published encoder are read from `weights_dir`, by default from
    ~/.cache/foleyflow/encoders. A CheckpointError is raised if weights are missing or don't fit.
    """
    aligner = load_aligner(folder)
    if isinstance(aligner.encoder, FrameAdapter):
        published = catalogue.video_encoder(aligner.encoder.config.published)
        frozen = catalogue.load_encoder(published, weights_dir or catalogue.default_folder())
        aligner.encoder = AdaptedVideo(frozen, aligner.encoder, rate_hz=published.rate_hz)
    return aligner.eval()


def load_flow(folder: Path) -> FlowTransformer:
    """The flow of a model folder."""
    config = config_from_json(FlowConfig, folder, "flow", read_record(folder, "flow").config)
    return load_into(FlowTransformer(config), folder, "flow")


def check_compatible(
    codec: SoundCodec, aligner: Alignment, flow: FlowTransformer, name: str
) -> None:
    """Raise a ConfigError if the latents, rates or widths of the model `name` differ."""
    rates = {
        "codec": codec.config.latent_rate_hz,
        "align": aligner.config.latent_rate_hz,
        "flow": flow.config.latent_rate_hz,
    }
    channels = {codec.config.channels, flow.config.channels}
    widths = {aligner.config.width, flow.config.condition_width}
    segments = {aligner.config.latents_per_segment, flow.config.latents_per_segment}
    groups: list[set[Any]] = [set(rates.values()), channels, widths, segments]
    if any(len(group) > 1 for group in groups):
        raise ConfigError(
            f"model {name!r}: latent rates {rates} Hz, channels {sorted(channels)}, condition "
            f"widths {sorted(widths)}, latents per segment {sorted(segments)}: expected one of "
            "each",
            hint="codec, align and flow must come from the same training",
        )


def component_folder(flow_folder: Path, name: str) -> Path:
    """The folder of the codec ("codec") or aligner ("align") that a flow was trained with.

    This is the flow's own folder if that holds it, else the folder in its training settings.

    Raises:
        CheckpointError: the part is in neither.
    """
    own = json.loads((flow_folder / CONFIG_NAME).read_text(encoding="utf-8"))["components"]
    trained_on = training_settings(flow_folder).get(name)
    for folder in (flow_folder if name in own else None, trained_on):
        if folder is not None and (Path(folder) / f"{name}.safetensors").is_file():
            return Path(folder)
    raise CheckpointError(
        f"{flow_folder}: no {name} in it, nor in {trained_on}, where its training read it",
        hint="give a folder that holds codec, align and flow",
    )


def training_settings(flow_folder: Path) -> dict[str, Any]:
    """The settings that a flow was trained with; empty if its record has none."""
    return dict(read_record(flow_folder, "flow").provenance.get("settings", {}))


def trained_path(flow_folder: Path) -> str:
    """The probability path that a flow was trained with, as `flow.sampling.sample` takes it."""
    return str(training_settings(flow_folder).get("objective", {}).get("path", "linear"))


def trained_segments(flow_folder: Path) -> int | None:
    """Segments per window that a flow was trained on; None if its record has none."""
    return training_settings(flow_folder).get("windows", {}).get("segments")


def aligner_segments(folder: Path) -> int | None:
    """Segments per window that a folder's aligner was trained on; None if its record has none."""
    settings = read_record(folder, "align").provenance.get("settings", {})
    segments: int | None = settings.get("windows", {}).get("segments")
    return segments


def _aligner_record(folder: Path) -> dict[str, Any]:
    stored = read_record(folder, "align").config
    if not {"model", "encoder"} <= stored.keys():
        raise CheckpointError(
            f"{folder}: the aligner's config lacks 'model' or 'encoder'", hint=OTHER_VERSION
        )
    return stored
