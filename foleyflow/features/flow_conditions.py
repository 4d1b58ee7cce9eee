"""From a data set, a codec and a frozen aligner to the windows that stage two is trained on."""

from __future__ import annotations

import copy
import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.alignment.model import Alignment, FlowCondition
from foleyflow.data.augmentation import draw_shots
from foleyflow.data.clips import open_split
from foleyflow.data.windows import WindowConfig, WindowSource
from foleyflow.encoders import catalogue
from foleyflow.features.codec_latents import latents_path, stored_latents, window_source
from foleyflow.features.encoder_features import Split, Weights, seen_arrays
from foleyflow.features.flow_condition_windows import Arrays, GuidedWindows, open_guided
from foleyflow.parallel.precision import fast_autocast
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.pretrained import load_aligner, load_codec_config, published_encoder
from foleyflow.weights import read_record


@dataclass(frozen=True, kw_only=True)
class FlowConditions:
    """What makes the windows of stage two.

    Attributes:
        data: folder of the data set.
        windows: how they are cut.
        codec, align: model folders.
        weights_dir: where published weights lie, for an aligner over a published encoder.
    """

    data: Path
    windows: WindowConfig
    codec: str
    align: str
    weights_dir: str = ""

    def key(self, split: str, views: int) -> str:
        """What names the stored features: another aligner, codec, data or cut has another.

        The precision is no part of it: machines of several kinds share a store, and a flow is
        trained on features of either precision.
        """
        parts: list[object] = [
            read_record(Path(self.align), "align").sha256,
            read_record(Path(self.codec), "codec").sha256,
            open_split(self.data, split).fingerprint,
            self.windows,
            views,
        ]
        if (video := self._published()) is not None:
            parts.append(video.sha256)
        return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()[:16]

    def guided(
        self, split: str, views: int, *, parallel_map: ParallelMap | None = None
    ) -> GuidedWindows:
        """The aligner's features of a split, computed first where they are missing (by `spread`).

        Args:
            split: its name.
            views: looks at every clip; the first one is plain.
            spread: who computes; None for this process.

        Raises:
            CheckpointError: a model or an encoder's weights are missing or don't fit.
        """
        source = self.source(split, parallel_map=parallel_map)

        def compute() -> Iterator[Arrays]:
            if parallel_map is None:
                return guide_all(load_aligner(Path(self.align)), source, views=views)
            work = functools.partial(_guide_in_worker, self, split)
            return parallel_map(work, guided_blocks(source, views))

        folder = self.data / f".guided-{split}-{self.key(split, views)}"
        return open_guided(folder, compute, rows=views * len(source.clips))

    def source(self, split: str, *, parallel_map: ParallelMap | None = None) -> WindowSource:
        """What the aligner sees and hears of a split, with the codec's latents."""
        codec_folder = Path(self.codec)
        video = self._published()
        if video is None:
            return window_source(
                self.data,
                split,
                codec_folder=codec_folder,
                config=self.windows,
                parallel_map=parallel_map,
            )
        clips = Split.at(self.data, split)
        rate_hz = load_codec_config(codec_folder).rate_hz
        arrays = seen_arrays(clips, video, rate_hz=rate_hz, parallel_map=parallel_map)
        path = latents_path(self.data, split, codec_folder, f"{clips.fingerprint} seen")
        return WindowSource(arrays, stored_latents(path, codec_folder, arrays), self.windows)

    def _published(self) -> Weights | None:
        """Of the frozen encoder that the aligner sees through; None if it has its own eyes."""
        name = published_encoder(Path(self.align))
        if name is None:
            return None
        return Weights.of(catalogue.video_encoder(name), self.weights_dir)


@dataclass(frozen=True, kw_only=True)
class GuidedBlock:
    """Some windows of a view.

    Attributes:
        chosen, starts: clips, and the segments where their windows start.
        rng: as it stands before their looks are drawn; None for a plain view.
    """

    chosen: NDArray[np.int64]
    starts: NDArray[np.int64]
    rng: np.random.Generator | None


def guided_blocks(source: WindowSource, views: int) -> Iterator[GuidedBlock]:
    """All windows of `views` views, in order; the first view is plain.

    The source's own random starts and augmentation make the views differ.
    """
    order = np.arange(len(source.clips))
    for view in range(views):
        rng = np.random.default_rng([7, view])
        for chosen in np.array_split(order, max(1, len(order) // 8)):
            starts = rng.integers(source.spare + 1, size=len(chosen))
            yield GuidedBlock(
                chosen=chosen, starts=starts, rng=copy.deepcopy(rng) if view else None
            )
            if view:
                for _ in chosen:
                    draw_shots(rng)


def guide_all(aligner: Alignment, source: WindowSource, *, views: int) -> Iterator[Arrays]:
    """Features of all clips of a split, `views` times."""
    for block in guided_blocks(source, views):
        yield _guide(aligner, source, block)


def _guide_in_worker(guides: FlowConditions, split: str, block: GuidedBlock) -> Arrays:
    """One block in a worker, which loads the aligner and opens the clips once."""
    aligner, source = _opened(guides, split)
    return _guide(aligner, source, block)


@functools.lru_cache(maxsize=1)
def _opened(guides: FlowConditions, split: str) -> tuple[Alignment, WindowSource]:
    return load_aligner(Path(guides.align)), guides.source(split)


@torch.no_grad()
def _guide(aligner: Alignment, source: WindowSource, block: GuidedBlock) -> Arrays:
    """One block of windows."""
    looks = block.rng if source.config.augment else None
    cut = source.cut(block.chosen, block.starts, looks)
    rows = guide_rows(aligner, cut, source.segments)
    return {
        "video": torch.cat([g.video for g in rows]).numpy().astype(np.float16),
        "states": torch.cat([g.states for g in rows]).numpy().astype(np.float16),
        "events": cut["onsets"].numpy().astype(np.float16),
        "latents": cut["latents"].numpy().astype(np.float16),
        "material": cut["material"].numpy(),
        "clip": cut["clip"].numpy(),
    }


def guide_rows(
    aligner: Alignment, cut: dict[str, torch.Tensor], segments: int
) -> list[FlowCondition]:
    """What the aligner gives each window of a batch.

    Pictures are encoded together, as in training; rows of different lengths go on one by one.
    """
    device = cut["pixels"].device
    with fast_autocast(device):
        features = aligner.watch(cut["pixels"], cut["times_s"], cut["present"]).float()
    rows = []
    for row in range(len(features)):
        count = int(cut["present"][row].sum())
        rows.append(
            aligner.guide(
                features[row : row + 1, :count],
                cut["times_s"][row : row + 1, :count],
                segments=segments,
            )
        )
    return rows
