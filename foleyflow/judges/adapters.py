"""From a folder of weights to judges that metrics can ask.

Pairs each judge's name with its network, its file and its rule of lengths; what the networks are
stands in `listeners`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foleyflow.errors import CheckpointError, FoleyflowError
from foleyflow.judges.interface import AnyJudge, ClipRule, VideoPreprocessing
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
from foleyflow.judges.networks.log_mel import LogMel, relative
from foleyflow.judges.networks.sync import Sync, in_sync
from foleyflow.judges.networks.synchformer import Synchformer
from foleyflow.judges.networks.tagger import Tagger, joint_logits
from foleyflow.judges.networks.trained import load_sync, load_tagger
from foleyflow.judges.weights import FILES, SHIPPED_JUDGES, checked_file, fill_from, shipped_folder
from foleyflow.signals import Frames
from foleyflow.weights import read_record

FILMED_SIZE_PX = 112  # as the simulated clips were filmed; the judge squashes them itself
LONGEST_SEEN_S = 60.0  # what comes later in a pair is not looked at


class SoundJudge:
    """A network that hears sounds, as metrics ask it; see `judges.Judge`."""

    def __init__(
        self,
        name: str,
        *,
        rate_hz: int,
        weights_sha256: str,
        embed: Callable[[Tensor], Tensor],
        logits: Callable[[Tensor], Tensor] | None,
        clip: ClipRule | None = None,
    ) -> None:
        """Takes what the network gives: (N,) sound to (E, D) and, with classes, to (C,)."""
        self.name = name
        self.rate_hz = rate_hz
        self.clip = clip or ClipRule()
        self.weights_sha256 = weights_sha256
        self._embed = embed
        self._logits = logits

    @torch.no_grad()
    def embed(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """(E, D) embeddings of one (N,) sound."""
        return self._embed(_tensor(samples)).double().numpy()

    @torch.no_grad()
    def logits(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """(C,) logits of one (N,) sound.

        Raises:
            ValueError: the network has no classes.
        """
        if self._logits is None:
            raise ValueError(f"the judge {self.name!r} has no classes")
        return self._logits(_tensor(samples)).double().numpy()


class TaggerJudge(SoundJudge):
    """The tagger, which also names materials; see `judges.MaterialJudge`."""

    def __init__(
        self,
        weights_sha256: str,
        *,
        embed: Callable[[Tensor], Tensor],
        answers: Callable[[Tensor], tuple[Tensor, Tensor]],
        materials: Sequence[str],
    ) -> None:
        """Takes what the network gives: embeddings, and logits of materials and of kinds."""
        super().__init__(
            "tagger-sim",
            rate_hz=log_mel.RATE_HZ,
            weights_sha256=weights_sha256,
            embed=embed,
            logits=lambda sound: joint_logits(*answers(sound))[0],
            clip=ClipRule(longest_s=LONGEST_SEEN_S),
        )
        self._answers = answers
        self._materials = tuple(materials)

    @torch.no_grad()
    def material(self, samples: NDArray[np.float32]) -> str:
        """The likeliest material of one (N,) sound, "nothing" where none sounds."""
        return self._materials[int(self._answers(_tensor(samples))[0][0].argmax())]


def vggish_judge(network: nn.Module, weights_sha256: str) -> SoundJudge:
    """VGGish as a judge: one embedding per 0.96 s.

    Args:
        network: a `Vggish`.
        weights_sha256: of its file.

    Source: as av-benchmark uses it.
    """
    return SoundJudge(
        "vggish",
        rate_hz=vggish.RATE_HZ,
        weights_sha256=weights_sha256,
        embed=lambda sound: network(network.patches(sound)),
        logits=None,
    )


def panns_judge(network: nn.Module, weights_sha256: str) -> SoundJudge:
    """CNN14 as a judge: the whole sound at once.

    Args:
        network: a `Cnn14`.
        weights_sha256: of its file.

    Source: as av-benchmark uses it.
    """
    return SoundJudge(
        "panns",
        rate_hz=panns.RATE_HZ,
        weights_sha256=weights_sha256,
        embed=lambda sound: network(sound[None])[1],
        logits=lambda sound: network(sound[None])[0][0],
    )


def passt_judge(network: nn.Module, weights_sha256: str) -> SoundJudge:
    """PaSST as a judge: exactly 10 s, cut or filled with zeros.

    Args:
        network: a `Passt`.
        weights_sha256: of its file.

    Source: as av-benchmark uses it.
    """
    return SoundJudge(
        "passt",
        rate_hz=passt.RATE_HZ,
        weights_sha256=weights_sha256,
        embed=lambda sound: network(sound[None])[1],
        logits=lambda sound: network(sound[None])[0][0],
        clip=ClipRule(longest_s=passt.LONGEST_S, filled=True),
    )


def tagger_judge(network: Tagger, weights_sha256: str) -> TaggerJudge:
    """The tagger as a judge: logits of material and kind at once, embeddings of whole seconds.

    Args:
        network: filled.
        weights_sha256: of its file.

    Source: ours.
    """
    front_end = LogMel()
    piece = round(network.frame_rate_hz)

    def heard(sound: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if len(sound) < log_mel.RATE_HZ // 10:
            raise ValueError(f"{len(sound)} samples at {log_mel.RATE_HZ} Hz, expected 0.1 s")
        answers: tuple[Tensor, Tensor, Tensor] = network(relative(front_end(sound[None])))
        return answers

    def embed(sound: Tensor) -> Tensor:
        frames = heard(sound)[2][0]
        count = max(1, len(frames) // piece)
        return torch.stack([part.mean(0) for part in frames.tensor_split(count)])

    return TaggerJudge(
        weights_sha256,
        embed=embed,
        answers=lambda sound: heard(sound)[:2],
        materials=network.config.materials,
    )


class SyncJudge:
    """The classifier of true, shifted and other clips' sounds; see `judges.PairJudge`."""

    name = "sync-sim"
    rate_hz = log_mel.RATE_HZ
    sight = VideoPreprocessing(size_px=FILMED_SIZE_PX)

    def __init__(self, network: Sync, weights_sha256: str) -> None:
        """Takes a filled network."""
        self.weights_sha256 = weights_sha256
        self.shortest_s = network.config.window_s
        self._network = network
        self._front_end = LogMel()
        # One video is asked about with several sounds, and seeing takes most of the time.
        self._seen: tuple[Frames, int, Tensor] | None = None

    @torch.no_grad()
    def verdict(self, frames: Frames, samples: NDArray[np.float32]) -> float:
        """Mean over windows of the probability that a sound is the video's, at its time.

        Args:
            frames: times from 0.
            samples: (N,) float32 at 48 kHz.

        Returns:
            0..1.

        Raises:
            ValueError: less than a window of both.

        Source: ours.
        """
        config = self._network.config
        step_s = float(np.median(np.diff(frames.times_s))) if len(frames) > 1 else 0.0
        seen_s, heard_s = float(frames.times_s[-1]) + step_s, len(samples) / self.rate_hz
        steps = int(min(seen_s, heard_s, LONGEST_SEEN_S) * config.grid_rate_hz + 1e-6)
        if steps < config.steps:
            raise ValueError(
                f"{seen_s:.2f} s of video with {heard_s:.2f} s of sound, the judge "
                f"{self.name!r} needs {config.window_s:g} s of both"
            )
        end_s = steps / config.grid_rate_hz
        video = self._watch(frames, steps)
        heard = _tensor(samples[: round(end_s * self.rate_hz)])[None]
        sound = self._network.listen(relative(self._front_end(heard)))[0]
        last = steps - config.steps
        hop = max(1, round(config.hop_s * config.grid_rate_hz))
        starts = sorted({*range(0, last + 1, hop), last})
        pairs = [
            torch.stack([track[start : start + config.steps] for start in starts])
            for track in (video, sound)
        ]
        return float(in_sync(self._network.compare(*pairs)).mean())

    def _watch(self, frames: Frames, steps: int) -> Tensor:
        """(L, W) features of a video's first grid steps."""
        if self._seen is not None and self._seen[0] is frames and self._seen[1] == steps:
            return self._seen[2]
        around = self._network.encoder.config.window // 2
        end_s = steps / self._network.config.grid_rate_hz
        kept = max(1, int(np.searchsorted(frames.times_s, end_s)))
        places = np.clip(np.arange(-around, kept + around), 0, kept - 1)
        pixels = torch.from_numpy(frames.pixels[places]).permute(0, 3, 1, 2)[None]
        times_s = torch.from_numpy(frames.times_s[:kept].astype(np.float32))[None]
        features: Tensor = self._network.watch(pixels, times_s, steps)[0]
        self._seen = (frames, steps, features)
        return features


class SynchformerJudge:
    """How far a sound is out of time with its video; see `judges.PairJudge`."""

    name = "synchformer"
    rate_hz = synchformer.RATE_HZ
    shortest_s = 4.8  # fourteen segments

    def __init__(self, network: Synchformer, weights_sha256: str) -> None:
        """Takes a filled network."""
        self.weights_sha256 = weights_sha256
        self.sight = VideoPreprocessing(
            size_px=network.config.side, rate_hz=synchformer.FRAME_RATE_HZ, shape="middle"
        )
        self._network = network
        # One video is asked about with several sounds, and seeing takes nearly all the time.
        self._seen: tuple[Frames, int, tuple[Tensor, Tensor]] | None = None

    @torch.no_grad()
    def verdict(self, frames: Frames, samples: NDArray[np.float32]) -> float:
        """Mean size of the offsets that are heard in the first and in the last 4.8 s.

        Args:
            frames: at 25 Hz.
            samples: (N,) float32 at 16 kHz.

        Returns:
            seconds, 0 to 2.

        Raises:
            ValueError: less than 4.8 s of both.

        Source: av-benchmark, evaluate.py.
        """
        shown = _segments(len(frames), synchformer.SEGMENT_FRAMES)
        heard = _segments(len(samples), synchformer.SEGMENT_SAMPLES)
        count = min(shown, heard)
        if count < synchformer.COMPARED_SEGMENTS:
            raise ValueError(
                f"{len(frames) / synchformer.FRAME_RATE_HZ:.2f} s of video with "
                f"{len(samples) / self.rate_hz:.2f} s of sound, the judge {self.name!r} needs "
                f"{self.shortest_s:g} s of both"
            )
        video = self._watch(frames, count)
        sound = _ends(self._network.listen, _tensor(samples), synchformer.SEGMENT_SAMPLES, count)
        offsets_s = [
            self._network.offsets_s[self._network.compare(*pair).argmax()].abs()
            for pair in zip(video, sound, strict=True)
        ]
        return float(torch.stack(offsets_s).mean())

    def _watch(self, frames: Frames, count: int) -> tuple[Tensor, Tensor]:
        """Features of the first and of the last fourteen segments."""
        if self._seen is not None and self._seen[0] is frames and self._seen[1] == count:
            return self._seen[2]
        pixels = _colours_first(frames)
        features = _ends(self._network.watch, pixels, synchformer.SEGMENT_FRAMES, count)
        self._seen = (frames, count, features)
        return features


class DiffFoleyJudge:
    """Diff-Foley's classifier behind CAVP; see `judges.PairJudge`."""

    name = "diff-foley"
    rate_hz = diff_foley.RATE_HZ
    shortest_s = diff_foley.SHORTEST_S
    sight = VideoPreprocessing(size_px=cavp.SIDE_PX, rate_hz=cavp.FRAME_RATE_HZ)

    def __init__(self, classifier: AlignmentClassifier, eye: Cavp, weights_sha256: str) -> None:
        """Takes filled networks."""
        self.weights_sha256 = weights_sha256
        self._classifier = classifier
        self._eye = eye
        self._seen: tuple[Frames, Tensor] | None = None

    @torch.no_grad()
    def verdict(self, frames: Frames, samples: NDArray[np.float32]) -> float:
        """The probability that a sound belongs to a video, by the first 8.192 s of both.

        The published script draws latents from one generator for all pairs; here each pair has
        its own, so that no figure depends on the order of the clips.

        Args:
            frames: at 4 Hz; up to 10 s are looked at together, as the published script does.
            samples: (N,) float32 at 16 kHz.

        Returns:
            0..1.

        Raises:
            ValueError: less than 8.192 s of sound, or of 32 frames of video.

        Source: Diff-Foley, evaluation/align_acc.py.
        """
        if len(frames) < diff_foley.VIDEO_FEATURES:
            raise ValueError(
                f"{len(frames)} frames at {cavp.FRAME_RATE_HZ:g} Hz, the judge {self.name!r} needs "
                f"{diff_foley.VIDEO_FEATURES}"
            )
        levels = diff_foley.mel_levels(_tensor(samples))
        if self._seen is None or self._seen[0] is not frames:
            shown = _colours_first(frames)[: cavp.MOST_FRAMES]
            self._seen = (frames, self._eye(shown)[: diff_foley.VIDEO_FEATURES])
        latents = self._classifier.latents(levels, _seeded_normal)
        return float(self._classifier(latents, self._seen[1]))


class ImageBindJudge:
    """How near a sound and a video lie in ImageBind's space; see `judges.PairJudge`."""

    name = "imagebind"
    rate_hz = imagebind.RATE_HZ
    shortest_s = imagebind.SHORTEST_S

    def __init__(self, network: ImageBind, weights_sha256: str) -> None:
        """Takes a filled network."""
        self.weights_sha256 = weights_sha256
        self.sight = VideoPreprocessing(
            size_px=network.side, rate_hz=imagebind.FRAME_RATE_HZ, shape="whole"
        )
        self._network = network
        self._seen: tuple[Frames, Tensor] | None = None

    @torch.no_grad()
    def verdict(self, frames: Frames, samples: NDArray[np.float32]) -> float:
        """Cosine of both embeddings.

        Args:
            frames: at 0.5 Hz, the shorter side as wide as the network's squares.
            samples: (N,) float32 at 16 kHz.

        Returns:
            -1..1.

        Raises:
            ValueError: fewer than two pictures, or less than 2 s of sound.

        Source: av-benchmark, extract_video.py and evaluate.py.
        """
        if self._seen is None or self._seen[0] is not frames:
            self._seen = (frames, self._network.watch(_colours_first(frames)))
        return self._network.compare(self._seen[1], self._network.listen(_tensor(samples)))


def clap_judge(network: nn.Module, weights_sha256: str) -> SoundJudge:
    """CLAP as a judge: the first 10 s at once.

    Args:
        network: a `Clap`.
        weights_sha256: of its file.

    Source: ours; length and repeating as LAION-CLAP.
    """
    return SoundJudge(
        "clap",
        rate_hz=clap.RATE_HZ,
        weights_sha256=weights_sha256,
        embed=lambda sound: network(sound)[None],
        logits=None,
        clip=ClipRule(longest_s=clap.LONGEST_S),
    )


# A key of `FILES` -> its network, unfilled.
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
# Name -> (its files, their networks and the hash as a judge).
PUBLISHED: dict[str, tuple[tuple[str, ...], Callable[..., AnyJudge]]] = {
    "vggish": (("vggish",), vggish_judge),
    "panns": (("panns",), panns_judge),
    "passt": (("passt",), passt_judge),
    "clap": (("clap",), clap_judge),
    "synchformer": (("synchformer",), SynchformerJudge),
    "diff-foley": (("diff-foley", "cavp"), DiffFoleyJudge),
    "imagebind": (("imagebind",), ImageBindJudge),
}


def load_judge(name: str, folder: Path) -> AnyJudge:
    """A judge with its weights.

    Args:
        name: as metrics call it.
        folder: where published weights lie; a model folder with judges of ours goes before those
            that ship.

    Returns:
        the judge, ready to be asked.

    Raises:
        CheckpointError: its file is missing, damaged or another one.
        MissingExtra: the library that carries it is not installed.

    Source: ours.
    """
    if name in PUBLISHED:
        files, as_judge = PUBLISHED[name]
        checked = [checked_file(folder, FILES[file]) for file in files]
        networks = [
            fill_from(NETWORKS[file](), path, FILES[file])
            for file, (path, _) in zip(files, checked, strict=True)
        ]
        return as_judge(*networks, " + ".join(sha256 for _, sha256 in checked))
    if name in SHIPPED_JUDGES:
        return _shipped_judge(name, folder)
    known = ", ".join([*PUBLISHED, *SHIPPED_JUDGES])
    raise CheckpointError(f"no judge {name!r}", hint=f"there are {known}")


def load_judges(
    names: Iterable[str], folder: Path
) -> tuple[dict[str, AnyJudge], dict[str, FoleyflowError]]:
    """As many of some judges as can be had.

    Args:
        names: as metrics call them.
        folder: where published weights lie.

    Returns:
        name -> judge, and name -> why it can't be had.

    Source: ours.
    """
    judges: dict[str, AnyJudge] = {}
    missing: dict[str, FoleyflowError] = {}
    for name in dict.fromkeys(names):
        try:
            judges[name] = load_judge(name, folder)
        except FoleyflowError as error:
            missing[name] = error
    return judges, missing


def _shipped_judge(name: str, folder: Path) -> AnyJudge:
    """One of the two judges made from simulated clips."""
    component = SHIPPED_JUDGES[name]
    where = shipped_folder(name, folder)
    sha256 = read_record(where, component).sha256
    if component == "tagger":
        return tagger_judge(load_tagger(where), sha256)
    return SyncJudge(load_sync(where), sha256)


def _segments(length: int, segment: int) -> int:
    """How many segments, half overlapping, lie in a length."""
    return max(0, (length - segment) // (segment // 2) + 1)


def _ends(
    features: Callable[[Tensor], Tensor], track: Tensor, segment: int, count: int
) -> tuple[Tensor, Tensor]:
    """Features of the first and the last fourteen of a track's first `count` segments."""
    compared, step = synchformer.COMPARED_SEGMENTS, segment // 2

    def stretch(first: int, last: int) -> Tensor:
        return track[first * step : (last - 1) * step + segment]

    if count <= 2 * compared:
        rows = features(stretch(0, count))
        return rows[:compared], rows[-compared:]
    return features(stretch(0, compared)), features(stretch(count - compared, count))


def _seeded_normal(shape: torch.Size) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _colours_first(frames: Frames) -> Tensor:
    """(T, 3, S, S) of frames."""
    return torch.from_numpy(np.ascontiguousarray(frames.pixels.transpose(0, 3, 1, 2)))


def _tensor(samples: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
