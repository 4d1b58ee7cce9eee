"""Training windows of the flow: features of a frozen aligner with codec latents.

The aligner is frozen in stage two, so its features of a few augmented views of every clip are
computed once and cached, and the training of the flow reads no frames.
"""

from __future__ import annotations

import copy
import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.alignment.model import Alignment, FlowCondition
from foleyflow.codec.feature_codec import FeatureCodecConfig
from foleyflow.codec.paper_mel import RATE_HZ as PAPER_RATE_HZ
from foleyflow.data.augmentation import sample_shots
from foleyflow.data.clips import open_split
from foleyflow.data.joining import join_rows
from foleyflow.data.windows import WindowConfig, WindowSource
from foleyflow.encoders import catalogue
from foleyflow.encoders.motion_encoder import MotionEncoderConfig
from foleyflow.errors import ConfigError
from foleyflow.features.codec_latents import codec_latents, window_source
from foleyflow.features.encoder_features import Weights, feature_arrays, segment_features
from foleyflow.features.frames import Split
from foleyflow.features.store import Arrays, open_store
from foleyflow.parallel.precision import fast_autocast
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.pretrained import (
    load_aligner,
    load_codec_config,
    published_encoder,
    video_encoder_config,
)
from foleyflow.system.device import pick_device
from foleyflow.weights import read_record

CLIPS_PER_BLOCK = 8
STORED_ARRAYS = 3  # version of the set of arrays in a store


@dataclass(frozen=True, kw_only=True)
class ConditionWindows:
    """Windows of stage two, memory-mapped.

    Attributes:
        video: (N, L, D) float16 aligned features at latent frames.
        states: (N, S, D) float16 decoder states with all audio hidden.
        latents: (N, L, C) float16 codec latents of the sound.
        clip: (N,) int64 index of the clip.
        start_s: (N,) float64 start of the window in the clip.
    """

    video: NDArray[np.float16]
    states: NDArray[np.float16]
    latents: NDArray[np.float16]
    clip: NDArray[np.int64]
    start_s: NDArray[np.float64]


def join_condition_windows(
    parts: Sequence[ConditionWindows], clip_counts: Sequence[int]
) -> ConditionWindows:
    """Windows of several data sets as those of one, whose clips follow each other.

    Args:
        parts: the windows of each data set.
        clip_counts: number of clips of each data set.

    Raises:
        DataError: the windows have different lengths or features.
    """
    if len(parts) == 1:
        return parts[0]
    begins = np.cumsum([0, *clip_counts])
    return ConditionWindows(
        video=join_rows([part.video for part in parts], what="video features"),
        states=join_rows([part.states for part in parts], what="decoder states"),
        latents=join_rows([part.latents for part in parts], what="latents"),
        clip=np.concatenate([x.clip + begin for x, begin in zip(parts, begins, strict=False)]),
        start_s=np.concatenate([part.start_s for part in parts]),
    )


@dataclass(frozen=True, kw_only=True)
class FlowConditions:
    """Sources of the windows of stage two.

    Attributes:
        data: folder of the data set.
        windows: length and augmentation of the windows.
        codec, align: model folders.
        weights_dir: folder of published weights, for an aligner over a published encoder.
    """

    data: Path
    windows: WindowConfig
    codec: str
    align: str
    weights_dir: str = ""

    def key(self, split: str, views: int) -> str:
        """A hash of everything that the stored features depend on.

        The precision is not part of it: machines of several kinds share a store, and a flow is
        trained on features of either precision.
        """
        parts: list[object] = [
            STORED_ARRAYS,
            read_record(Path(self.align), "align").sha256,
            read_record(Path(self.codec), "codec").sha256,
            open_split(self.data, split).fingerprint,
            self.windows,
            views,
        ]
        if (video := self._published_weights()) is not None:
            parts.append(video.sha256)
        if (codec := self._feature_codec()) is not None:
            parts.append(self._sound_weights(codec).sha256)
        return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()[:16]

    def open_windows(
        self, split: str, views: int, *, parallel_map: ParallelMap | None = None
    ) -> ConditionWindows:
        """Opens the windows of a split, and computes them first if they are missing.

        The first of the `views` views of each clip is not augmented.

        Raises:
            CheckpointError: a model or an encoder's weights are missing or do not fit.
        """
        key = self.key(split, views)

        def blocks() -> Iterator[WindowBlock]:  # opens the source only if a block is missing
            yield from window_blocks(self.source(split, parallel_map=parallel_map), views)

        try:
            return ConditionWindows(
                **open_store(
                    self.data / f".flow_conditions-{split}-{key}",
                    functools.partial(_compute_block, self, split, key),
                    blocks(),
                    parallel_map=parallel_map,
                    uses_gpu=True,
                    total=views * len(open_split(self.data, split)),
                )
            )
        finally:
            _opened.cache_clear()

    def source(self, split: str, *, parallel_map: ParallelMap | None = None) -> WindowSource:
        """The aligner's input for a split, with the codec's latents."""
        video, codec_folder = self._published_weights(), Path(self.codec)
        if (feature_codec := self._feature_codec()) is not None:
            return self._feature_source(split, video, feature_codec, parallel_map)
        if video is None:
            encoder = video_encoder_config(Path(self.align))
            around = encoder.window // 2 if isinstance(encoder, MotionEncoderConfig) else 0
            return window_source(
                self.data,
                split,
                codec_folder=codec_folder,
                config=replace(self.windows, neighbours=around),
                parallel_map=parallel_map,
            )
        clips = Split.at(self.data, split)
        rate_hz = load_codec_config(codec_folder).rate_hz
        arrays = feature_arrays(clips, video, rate_hz=rate_hz, parallel_map=parallel_map)
        latents = codec_latents(clips, codec_folder, resampled=True, parallel_map=parallel_map)
        return WindowSource(arrays, latents, self.windows)

    def _feature_source(
        self,
        split: str,
        video: Weights | None,
        codec: FeatureCodecConfig,
        parallel_map: ParallelMap | None,
    ) -> WindowSource:
        """Windows whose latents are the features of a published sound encoder.

        The aligner's training has stored both already, if it has the same encoders.
        """
        if video is None:
            raise ConfigError(
                f"align={self.align}: an aligner with its own video encoder: expected one over "
                f"published encoders for the codec {self.codec}",
                hint="train it by --recipe literal",
            )
        clips = Split.at(self.data, split)
        arrays = feature_arrays(clips, video, rate_hz=PAPER_RATE_HZ, parallel_map=parallel_map)
        latents = segment_features(
            clips,
            self._sound_weights(codec),
            segment_s=codec.segment_s,
            bands=codec.bands,
            parallel_map=parallel_map,
        )
        return WindowSource(arrays, latents, self.windows)

    def _feature_codec(self) -> FeatureCodecConfig | None:
        """The configuration of a codec that decodes published features; None for another one."""
        config = load_codec_config(Path(self.codec))
        return config if isinstance(config, FeatureCodecConfig) else None

    def _sound_weights(self, codec: FeatureCodecConfig) -> Weights:
        return Weights.of(catalogue.sound_encoder(codec.published), self.weights_dir)

    def _published_weights(self) -> Weights | None:
        """Weights of the aligner's frozen video encoder; None if it has its own encoder."""
        name = published_encoder(Path(self.align))
        if name is None:
            return None
        return Weights.of(catalogue.video_encoder(name), self.weights_dir)


@dataclass(frozen=True, kw_only=True)
class WindowBlock:
    """Some windows of one view.

    Attributes:
        clips: indices of the clips.
        starts: segments at which the windows start.
        rng: generator of the augmentation; None for a view that is not augmented.
    """

    clips: NDArray[np.int64]
    starts: NDArray[np.int64]
    rng: np.random.Generator | None


def window_blocks(source: WindowSource, views: int) -> Iterator[WindowBlock]:
    """All windows of `views` views in order; random starts and augmentation make them differ."""
    order = np.arange(len(source.clips))
    for view in range(views):
        rng = np.random.default_rng([7, view])
        for clips in np.array_split(order, max(1, len(order) // CLIPS_PER_BLOCK)):
            starts = rng.integers(source.spare + 1, size=len(clips))
            yield WindowBlock(clips=clips, starts=starts, rng=copy.deepcopy(rng) if view else None)
            if view:
                for _ in clips:  # advances the generator past this block's augmentation
                    sample_shots(rng)


@torch.no_grad()
def _compute_block(conditions: FlowConditions, split: str, key: str, block: WindowBlock) -> Arrays:
    aligner, source = _opened(conditions, split, key)
    rng = block.rng if source.config.augment else None
    cut = source.cut(block.clips, block.starts, rng)
    device = next(aligner.parameters()).device
    inputs = {name: cut[name].to(device) for name in ("pixels", "times_s", "present")}
    found = window_conditions(aligner, inputs, source.segments)
    return {
        "video": torch.cat([each.video for each in found]).cpu().numpy().astype(np.float16),
        "states": torch.cat([each.states for each in found]).cpu().numpy().astype(np.float16),
        "latents": cut["latents"].numpy().astype(np.float16),
        "clip": cut["clip"].numpy(),
        "start_s": block.starts * source.config.segment_s,
    }


@functools.lru_cache(maxsize=1)
def _opened(conditions: FlowConditions, split: str, key: str) -> tuple[Alignment, WindowSource]:
    """The aligner and the clips, which each process opens once; `key` identifies their content."""
    aligner = load_aligner(Path(conditions.align)).to(pick_device("auto"))
    return aligner, conditions.source(split)


def window_conditions(
    aligner: Alignment, cut: dict[str, torch.Tensor], segments: int
) -> list[FlowCondition]:
    """The aligner's condition for each window of a batch.

    Frames are encoded as one batch, as in training. The aligner then sees each window without the
    padding of the batch.
    """
    device = cut["pixels"].device
    with fast_autocast(device):
        features = aligner.encode_video(cut["pixels"], present=cut["present"]).float()
    conditions = []
    for index, frames in enumerate(cut["present"].sum(1).tolist()):
        conditions.append(
            aligner.flow_condition(
                features[index : index + 1, :frames],
                cut["times_s"][index : index + 1, :frames],
                segments=segments,
            )
        )
    return conditions
