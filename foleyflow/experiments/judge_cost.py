"""Operations that the published judges need for a clip, counted on tensors without data.

Operations are those of matrix products, convolutions and attention, counted by torch; one
multiplication with its addition counts as two. No weights are needed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from foleyflow.evaluation.metrics import METRICS
from foleyflow.evaluation.protocols import PROTOCOLS, Protocol
from foleyflow.judges.adapters import NETWORKS
from foleyflow.judges.networks import cavp, diff_foley, passt, synchformer
from foleyflow.judges.networks.synchformer import COMPARED_SEGMENTS

GIGA = 1e9
# Conditions of a protocol whose sounds a judge takes; silence is judged once for all clips
FIRST_SYSTEM = ("generated", "true", "noise")
NARROW = "true_narrow"
# Pairs of a judge of video and sound, and videos that it encodes: those of the clip and of the
# shifted pair, whose beginning is cut
FIRST_PAIRS, FIRST_VIDEOS = 6, 2


@functools.cache
def judge_operations(clip_s: float) -> dict[str, dict[str, float]]:
    """GFLOP of each published judge for clips of some seconds.

    Returns:
        Judge -> "sound", for a judge of pairs also "video" and "comparison".
    """

    def sound(rate_hz: int) -> Tensor:
        return torch.zeros(round(clip_s * rate_hz), device="meta")

    def video(rate_hz: float, side: int) -> Tensor:
        frames = max(2, int(clip_s * rate_hz))
        return torch.zeros(frames, 3, side, side, dtype=torch.uint8, device="meta")

    vggish, panns, passt_network = (_network(name) for name in ("vggish", "panns", "passt"))
    sync, bind = _network("synchformer"), _network("imagebind")
    classifier, encoder = _network("diff-foley"), _network("cavp")
    spectrogram = torch.zeros(diff_foley.BANDS, diff_foley.SPECTROGRAM_FRAMES, device="meta")
    features = torch.zeros(diff_foley.VIDEO_FEATURES, cavp.FEATURES, device="meta")
    halves = [
        torch.zeros(COMPARED_SEGMENTS, count, sync.config.width, device="meta") for count in (8, 6)
    ]
    # Synchformer encodes overlapping segments one by one, the first and last fourteen at most
    sync_video = video(synchformer.FRAME_RATE_HZ, 224)[: synchformer.SEGMENT_FRAMES]
    hop = synchformer.SEGMENT_FRAMES // 2
    sync_segments = min(int(clip_s * synchformer.FRAME_RATE_HZ) // hop - 1, 2 * COMPARED_SEGMENTS)
    latents = classifier.latents(spectrogram, _zeros)
    return {
        "vggish": {"sound": _gflop(lambda: vggish(vggish.patches(sound(16_000))))},
        "panns": {"sound": _gflop(lambda: panns(sound(16_000)[None]))},
        "passt": {
            "sound": _gflop(
                lambda: passt_network(
                    torch.zeros(1, round(passt.LONGEST_S * passt.RATE_HZ), device="meta")
                )
            )
        },
        "synchformer": {
            "sound": _gflop(lambda: sync.encode_audio(sound(16_000))),
            "video": sync_segments * _gflop(lambda: sync.encode_video(sync_video)),
            "comparison": 2 * _gflop(lambda: sync.compare(*halves)),
        },
        "imagebind": {
            "sound": _gflop(lambda: bind.encode_audio(sound(16_000))),
            "video": _gflop(lambda: bind.encode_video(video(0.5, bind.side))),
            "comparison": 0.0,
        },
        "diff-foley": {
            "sound": _gflop(lambda: classifier.latents(spectrogram, _zeros)),
            "video": _gflop(lambda: encoder(video(cavp.FRAME_RATE_HZ, cavp.SIDE_PX))),
            "comparison": _gflop(lambda: classifier(latents, features)),
        },
    }


def protocol_cost(protocol: Protocol, *, reached_tflops: float) -> dict[str, float]:
    """GFLOP for each clip of a protocol, and clips per second at a reached rate of operations.

    The first system needs the controls as well; further ones find them and the features of the
    videos in the cache.
    """
    judges = {METRICS[name].judge for name in protocol.metrics} - {None}
    clip_s = protocol.audio_preprocessing.duration_s or 10.0
    operations = judge_operations(clip_s)
    sounds = len(FIRST_SYSTEM) + (protocol.narrow_hz is not None)
    first = further = 0.0
    for name in sorted(str(judge) for judge in judges):
        each = operations[name]
        if "video" not in each:
            first += sounds * each["sound"]
            further += each["sound"]
            continue
        pair = each["sound"] + each["comparison"]
        first += FIRST_PAIRS * pair + FIRST_VIDEOS * each["video"]
        further += pair
    per_second = 1000 * reached_tflops
    return {
        "first_system_gflop_per_clip": round(first, 1),
        "further_system_gflop_per_clip": round(further, 1),
        "first_system_clips_per_s": round(per_second / first, 2),
        "further_system_clips_per_s": round(per_second / further, 2),
    }


def judge_cost(*, reached_tflops: float) -> dict[str, Any]:
    """Operations of all judges for clips of 10 s, and of the protocols."""
    return {
        "reached_tflops": reached_tflops,
        "gflop_for_10_s": {
            name: {part: round(gflop, 1) for part, gflop in parts.items()}
            for name, parts in judge_operations(10.0).items()
        },
        "protocols": {
            name: protocol_cost(protocol, reached_tflops=reached_tflops)
            for name, protocol in PROTOCOLS.items()
        },
    }


def _network(name: str) -> Any:
    with torch.device("meta"):
        network: nn.Module = NETWORKS[name]()
    return network.eval().requires_grad_(False)


def _zeros(shape: torch.Size) -> Tensor:
    return torch.zeros(shape, device="meta")


@torch.no_grad()
def _gflop(run: Callable[[], Any]) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / GIGA
