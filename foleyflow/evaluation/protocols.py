"""Two published evaluation protocols: which metrics are computed, and on which input.

A protocol fixes metrics, lengths, rates, resampler, averaging and edge cases. Values of different
protocols are not comparable (one checkpoint appears in three papers at a Fréchet distance of 145,
79 and 85), so `scores.common_protocol` refuses to put them into one table. A metric of a protocol
that cannot be computed is listed as not measured, with the reason, and never replaced.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from foleyflow.errors import ConfigError
from foleyflow.judges.preprocessing import AudioPreprocessing


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A set of metrics with the preprocessing of their inputs.

    Attributes:
        name: value of `--protocol`.
        source: the publication or script whose values it reproduces.
        metrics: names in the order of the report.
        audio_preprocessing: of the sounds for all judges.
        narrow_hz: rate of the published system's sound, if it is lower than that of the
            references: each metric with a reference is then also computed against references
            that are limited to its band.
        notes: edge cases, and differences from the published scripts.
    """

    name: str
    source: str
    metrics: tuple[str, ...]
    audio_preprocessing: AudioPreprocessing
    narrow_hz: int | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The protocol as plain values."""
        return {
            "name": self.name,
            "source": self.source,
            "metrics": self.metrics,
            "hearing": self.audio_preprocessing.description,
            "narrow_hz": self.narrow_hz,
            "notes": self.notes,
        }

    def to_text(self) -> str:
        """The source, the preprocessing and the notes, each on its own line."""
        lines = [f"protocol {self.name}: {self.source}"]
        lines += [f"  sounds: {self.audio_preprocessing.description}"]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


HIT_PROTOCOL = "flatsounds"  # has figures of its own, see `hits.py`
LEVELS = (
    "levels: sounds as the systems generate them (`foleyflow generate --loudness off`), compared "
    "without normalisation"
)
PROTOCOLS: dict[str, Protocol] = {
    "paper": Protocol(
        name="paper",
        source="KLD, FAD, Align Acc and speed of Foley-Flow and the papers it compares with",
        metrics=("kl_passt", "frechet_vggish", "align_acc", "generation_time"),
        audio_preprocessing=AudioPreprocessing(channels="first", resampler="sinc", duration_s=10.0),
        narrow_hz=8000,
        notes=(
            "KLD: softmax of 527 PaSST logits, KL(true || generated) summed over classes, mean "
            "over pairs, no epsilon; sounds below 10 s are filled with zeros",
            "FAD: VGGish without its last ReLU, PCA and quantising; all patches of 0.96 s of all "
            "pairs; shorter sounds are not filled, incomplete patches are dropped",
            "the published system generates 8 kHz sound: figures are given against full-band "
            "references and against references below 4 kHz, as two rows",
            "Align Acc: the first 8.192 s of sound and 8 s of video; the report states how much of "
            "shorter pairs was padding",
            LEVELS,
            "no script of this protocol is public: it is reconstructed from the papers",
        ),
    ),
    "av-benchmark": Protocol(
        name="av-benchmark",
        source="the script av-benchmark at 050a5cd, 8 s of sound",
        metrics=(
            "frechet_vggish",
            "frechet_panns",
            "frechet_passt",
            "kl_panns",
            "kl_passt",
            "inception_panns",
            "inception_passt",
            "ib_score",
            "desync",
        ),
        audio_preprocessing=AudioPreprocessing(
            centred=True, resampler="sinc", duration_s=8.0, short="refused"
        ),
        notes=(
            "sounds below 8 s are refused and listed (the script drops them from a batch or stops)",
            "videos are cut to 8 s; the last frame is repeated if at most one frame at 0.5 Hz or "
            "three at 25 Hz are missing, and shorter videos are refused and listed",
            "PaSST takes 10 s: 8 s and zeros; VGGish 8 patches of each sound",
            "Fréchet distances are over paired clips; the script takes all files of either side",
            LEVELS,
        ),
    ),
}


def protocol_named(name: str) -> Protocol:
    """The protocol of a name; a ConfigError if there is none."""
    if name not in PROTOCOLS:
        near = difflib.get_close_matches(name, (*PROTOCOLS, HIT_PROTOCOL), n=1, cutoff=0.0)[0]
        raise ConfigError(
            f"no protocol {name!r}: expected one of {', '.join(PROTOCOLS)} or {HIT_PROTOCOL}",
            hint=f"did you mean {near}?",
        )
    return PROTOCOLS[name]
