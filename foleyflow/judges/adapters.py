"""Load judges from their weights and adapt the networks to the interface of judges."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foleyflow.errors import CheckpointError, FoleyflowError
from foleyflow.judges.audio_judges import (
    AudioJudge,
    TaggerJudge,
    as_tensor,
    classify,
    device_of,
    embed_each,
    embed_patches,
)
from foleyflow.judges.interface import (
    LONGEST_PAIR_S,
    AnyJudge,
    ClipRule,
    PairPadding,
    VideoPreprocessing,
)
from foleyflow.judges.networks import (
    cavp,
    clap,
    diff_foley,
    imagebind,
    log_mel,
    panns,
    passt,
    synchformer,
    vggish,
)
from foleyflow.judges.networks.cavp import Cavp
from foleyflow.judges.networks.diff_foley import AlignmentClassifier
from foleyflow.judges.networks.imagebind import ImageBind
from foleyflow.judges.networks.log_mel import JudgeLogMel, normalise_to_peak
from foleyflow.judges.networks.sync import Sync, sync_probability
from foleyflow.judges.networks.synchformer import COMPARED_SEGMENTS, Synchformer
from foleyflow.judges.networks.trained import load_sync, load_tagger
from foleyflow.judges.video_features import VideoPairJudge
from foleyflow.judges.weights import (
    FILES,
    SHIPPED_JUDGES,
    load_published,
    shipped_folder,
    verify_file,
)
from foleyflow.signals import Frames
from foleyflow.system.device import pick_device
from foleyflow.weights import read_record

SIMULATED_FRAME_PX = 112  # side of the frames of simulated clips; the judge resizes them itself


class SyncJudge(VideoPairJudge):
    """The classifier of true, shifted and other clips' sounds; see `interface.PairJudge`."""

    name = "sync-sim"
    rate_hz = log_mel.RATE_HZ
    video_preprocessing = VideoPreprocessing(size_px=SIMULATED_FRAME_PX)

    def __init__(self, network: Sync, weights_sha256: str) -> None:
        super().__init__(weights_sha256)
        self.shortest_s = network.config.window_s
        self._network = network
        self._front_end = JudgeLogMel()

    @torch.no_grad()
    def score(self, frames: Frames, samples: NDArray[np.float32]) -> float:
        """Mean probability over windows that the sound belongs to the video and is in sync."""
        # The common duration, in grid steps
        config = self._network.config
        step_s = float(np.median(np.diff(frames.times_s))) if len(frames) > 1 else 0.0
        video_s, sound_s = float(frames.times_s[-1]) + step_s, len(samples) / self.rate_hz
        steps = int(min(video_s, sound_s, LONGEST_PAIR_S) * config.grid_rate_hz + 1e-6)
        if steps < config.steps:
            raise self._too_short(video_s, sound_s)

        # Features of both
        end_s = steps / config.grid_rate_hz
        video = self._video_features(
            frames, steps, lambda: self._encode_video(frames, steps), device_of(self._network)
        )
        device = device_of(self._network)
        used = as_tensor(samples[: round(end_s * self.rate_hz)])[None].to(device)
        front_end = self._front_end.to(device)
        sound = self._network.encode_audio(normalise_to_peak(front_end(used)))[0]

        # Windows, the last one ending with the pair
        last = steps - config.steps
        hop = max(1, round(config.hop_s * config.grid_rate_hz))
        starts = sorted({*range(0, last + 1, hop), last})
        pairs = [
            torch.stack([track[start : start + config.steps] for start in starts])
            for track in (video, sound)
        ]
        return float(sync_probability(self._network.compare(*pairs)).mean())

    def _encode_video(self, frames: Frames, steps: int) -> Tensor:
        """(L, W) features of a video's first grid steps."""
        neighbours = self._network.encoder.config.window // 2
        end_s = steps / self._network.config.grid_rate_hz
        count = max(1, int(np.searchsorted(frames.times_s, end_s)))
        indices = np.clip(np.arange(-neighbours, count + neighbours), 0, count - 1)
        device = device_of(self._network)
        pixels = torch.from_numpy(frames.pixels[indices]).permute(0, 3, 1, 2)[None]
        times_s = torch.from_numpy(frames.times_s[:count].astype(np.float32))[None]
        return self._network.encode_video(pixels.to(device), times_s.to(device), steps)[0]


class SynchformerJudge(VideoPairJudge):
    """The offset between a sound and its video; see `interface.PairJudge`."""

    name = "synchformer"
    rate_hz = synchformer.RATE_HZ
    shortest_s = 4.8  # fourteen segments

    def __init__(self, network: Synchformer, weights_sha256: str) -> None:
        super().__init__(weights_sha256)
        self.video_preprocessing = VideoPreprocessing(
            size_px=network.config.side,
            rate_hz=synchformer.FRAME_RATE_HZ,
            shape="middle",
            end_copies=synchformer.END_COPIES,
        )
        self._network = network

    @torch.no_grad()
    def score(self, frames: Frames, samples: NDArray[np.float32]) -> float:
        """Mean absolute offset of the first and of the last 4.8 s, 0 to 2 seconds.

        Reference: av-benchmark, evaluate.py.
        """
        count = min(
            _segment_count(len(frames), synchformer.SEGMENT_FRAMES),
            _segment_count(len(samples), synchformer.SEGMENT_SAMPLES),
        )
        if count < COMPARED_SEGMENTS:
            video_s = len(frames) / synchformer.FRAME_RATE_HZ
            raise self._too_short(video_s, len(samples) / self.rate_hz)
        network = self._network
        video = self._video_features(
            frames,
            count,
            lambda: _first_and_last(
                network.encode_video,
                _channels_first(frames).to(device_of(network)),
                synchformer.SEGMENT_FRAMES,
                count,
            ),
            device_of(network),
        )
        sound = _first_and_last(
            network.encode_audio,
            as_tensor(samples).to(device_of(network)),
            synchformer.SEGMENT_SAMPLES,
            count,
        )
        offsets_s = [
            network.offsets_s[int(network.compare(*pair).argmax())].abs()
            for pair in zip(video, sound, strict=True)
        ]
        return float(torch.stack(offsets_s).mean())


class DiffFoleyJudge(VideoPairJudge):
    """Diff-Foley's classifier of CAVP features and spectrograms; see `interface.PairJudge`."""

    name = "diff-foley"
    rate_hz = diff_foley.RATE_HZ
    shortest_s = 1 / cavp.FRAME_RATE_HZ  # one video feature
    video_preprocessing = VideoPreprocessing(
        size_px=cavp.SIDE_PX, rate_hz=cavp.FRAME_RATE_HZ, origin="file"
    )
    pads = "sound with zeros to 8.192 s, video by repeating its features to 8 s"

    def __init__(
        self, classifier: AlignmentClassifier, video_encoder: Cavp, weights_sha256: str
    ) -> None:
        super().__init__(weights_sha256)
        self._classifier = classifier
        self._video_encoder = video_encoder

    @torch.no_grad()
    def score(self, frames: Frames, samples: NDArray[np.float32]) -> float:
        """The probability that the sound belongs to the video, from the first 8.192 s of both.

        Shorter sounds are padded with zeros, and the features of shorter videos are repeated. Each
        pair has its own generator for the latents, so that no figure depends on the order of the
        clips; the published script samples all pairs from one generator.

        Reference: Diff-Foley, evaluation/align_acc.py.
        """
        video_s, sound_s = len(frames) / cavp.FRAME_RATE_HZ, len(samples) / self.rate_hz
        if min(video_s, sound_s) < self.shortest_s:
            raise self._too_short(video_s, sound_s)
        device = device_of(self._classifier)
        levels = diff_foley.mel_levels(as_tensor(samples).to(device))
        features = self._video_features(
            frames,
            diff_foley.VIDEO_FEATURES,
            lambda: diff_foley.repeat_features(
                self._video_encoder(_channels_first(frames)[: cavp.MOST_FRAMES].to(device))
            ),
            device,
        )
        latents = self._classifier.latents(levels, lambda shape: _seeded_normal(shape).to(device))
        return float(self._classifier(latents, features))

    def padding(self, frames: Frames, samples: NDArray[np.float32]) -> PairPadding:
        """Zeros after the sound, and repeated video features; see `PairJudge.padding`."""
        sound = max(0, diff_foley.USED_SAMPLES - len(samples))
        video = max(0, diff_foley.VIDEO_FEATURES - len(frames))
        return PairPadding(
            sound_s=sound / self.rate_hz,
            sound_fraction=sound / diff_foley.USED_SAMPLES,
            video_s=video / cavp.FRAME_RATE_HZ,
            video_fraction=video / diff_foley.VIDEO_FEATURES,
        )


class ImageBindJudge(VideoPairJudge):
    """The similarity of sound and video in ImageBind's space; see `interface.PairJudge`."""

    name = "imagebind"
    rate_hz = imagebind.RATE_HZ
    shortest_s = imagebind.SHORTEST_S

    def __init__(self, network: ImageBind, weights_sha256: str) -> None:
        super().__init__(weights_sha256)
        self.video_preprocessing = VideoPreprocessing(
            size_px=network.side,
            rate_hz=imagebind.FRAME_RATE_HZ,
            shape="whole",
            end_copies=imagebind.END_COPIES,
        )
        self._network = network

    @torch.no_grad()
    def score(self, frames: Frames, samples: NDArray[np.float32]) -> float:
        """Cosine similarity of the embeddings, -1..1.

        Reference: av-benchmark, extract_video.py and evaluate.py.
        """
        device = device_of(self._network)
        video = self._video_features(
            frames,
            len(frames),
            lambda: self._network.encode_video(_channels_first(frames).to(device)),
            device,
        )
        sound = self._network.encode_audio(as_tensor(samples).to(device))
        return self._network.compare(video, sound)


# Key of `FILES` -> its network with random weights
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "vggish": vggish.Vggish,
    "panns": panns.Cnn14,
    "passt": passt.Passt,
    "clap": clap.Clap,
    "synchformer": Synchformer,
    "diff-foley": AlignmentClassifier,
    "cavp": Cavp,
    "imagebind": ImageBind,
}


# Name -> the judge, from the networks of its files and their hash
PUBLISHED: dict[str, Callable[..., AnyJudge]] = {
    "vggish": partial(  # one embedding per 0.96 s
        AudioJudge,
        "vggish",
        rate_hz=vggish.RATE_HZ,
        apply=embed_patches,
    ),
    "panns": partial(AudioJudge, "panns", rate_hz=panns.RATE_HZ, apply=classify),
    "passt": partial(
        AudioJudge,
        "passt",
        rate_hz=passt.RATE_HZ,
        apply=classify,
        clip=ClipRule(longest_s=passt.LONGEST_S, filled=True),
    ),
    "clap": partial(
        AudioJudge,
        "clap",
        rate_hz=clap.RATE_HZ,
        apply=embed_each,
        clip=ClipRule(longest_s=clap.LONGEST_S),
    ),
    "synchformer": SynchformerJudge,
    "diff-foley": DiffFoleyJudge,
    "imagebind": ImageBindJudge,
}


def load_judge(name: str, folder: Path, device: str = "cpu") -> AnyJudge:
    """Load a judge by its name in metrics, on a device.

    The judges trained on simulated clips are loaded from `folder` if it contains them, else from
    foleyflow's assets.

    Raises:
        ConfigError: there is no such device.
        CheckpointError: the name is unknown, or a file is missing, damaged or has another hash.
        MissingExtra: the library that provides the network is not installed.
    """
    place = pick_device(device)
    if name in PUBLISHED:
        files = {key: file for key, file in FILES.items() if file.judge == name}
        verified = {key: verify_file(folder, file) for key, file in files.items()}
        networks = [
            load_published(NETWORKS[key](), verified[key][0], file).to(place)
            for key, file in files.items()
        ]
        return PUBLISHED[name](*networks, " + ".join(sha256 for _, sha256 in verified.values()))
    if name in SHIPPED_JUDGES:
        component = SHIPPED_JUDGES[name]
        found = shipped_folder(name, folder)
        sha256 = read_record(found, component).sha256
        if component == "tagger":
            return TaggerJudge(load_tagger(found).to(place), sha256)
        return SyncJudge(load_sync(found).to(place), sha256)
    known = ", ".join([*PUBLISHED, *SHIPPED_JUDGES])
    raise CheckpointError(f"unknown judge {name!r}", hint=f"expected one of {known}")


def load_judges(
    names: Iterable[str], folder: Path, device: str = "cpu"
) -> tuple[dict[str, AnyJudge], dict[str, FoleyflowError]]:
    """Name -> judge, and name -> error for those that `load_judge` cannot load.

    Raises:
        ConfigError: there is no such device.
    """
    pick_device(device)
    judges: dict[str, AnyJudge] = {}
    errors: dict[str, FoleyflowError] = {}
    for name in dict.fromkeys(names):
        try:
            judges[name] = load_judge(name, folder, device)
        except FoleyflowError as error:
            errors[name] = error
    return judges, errors


def _segment_count(length: int, segment: int) -> int:
    """The number of half-overlapping segments in a length."""
    return max(0, (length - segment) // (segment // 2) + 1)


def _first_and_last(
    encode: Callable[[Tensor], Tensor], track: Tensor, segment: int, count: int
) -> tuple[Tensor, Tensor]:
    """Features of the first and last fourteen of a track's first `count` segments."""
    step = segment // 2

    def cut(first: int, last: int) -> Tensor:
        return track[first * step : (last - 1) * step + segment]

    if count <= 2 * COMPARED_SEGMENTS:
        features = encode(cut(0, count))
        return features[:COMPARED_SEGMENTS], features[-COMPARED_SEGMENTS:]
    return encode(cut(0, COMPARED_SEGMENTS)), encode(cut(count - COMPARED_SEGMENTS, count))


def _seeded_normal(shape: torch.Size) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _channels_first(frames: Frames) -> Tensor:
    """The pixels as (T, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(frames.pixels.transpose(0, 3, 1, 2)))
