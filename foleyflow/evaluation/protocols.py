"""Two published ways to score a system, by name: what is measured and on what exactly.

A protocol fixes metrics, lengths, rates, resampler, averaging and edge cases. Figures of different
protocols can't be compared (one checkpoint stands in three papers at a Fréchet distance of 145, 79
and 85), so no table takes both: `scores.one_protocol` refuses it. What a protocol asks for and
can't be had here is listed as not measured, with the reason, never replaced by something else.
"""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass
from typing import Any

from foleyflow.errors import ConfigError
from foleyflow.judges.preprocessing import AudioPreprocessing


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is measured, and on what.

    Attributes:
        name: as `--protocol` takes it.
        source: whose figures it is meant to repeat.
        metrics: in the order of the report.
        hearing: how every judge of sounds is given them.
        narrow_hz: rate of the sound that the published system makes, if it is lower than the
            references': each metric with a reference then has a second row against references
            that are limited to its band; None for full-band references alone.
        notes: edge cases, and where this differs from the published scripts.
    """

    name: str
    source: str
    metrics: tuple[str, ...]
    hearing: AudioPreprocessing
    narrow_hz: int | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values, for reports."""
        return {**asdict(self), "hearing": self.hearing.said}

    def to_text(self) -> str:
        """What must be known beside its figures."""
        lines = [f"protocol {self.name}: {self.source}", f"  sounds: {self.hearing.said}"]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


PROTOCOLS: dict[str, Protocol] = {
    "paper": Protocol(
        name="paper",
        source="KLD, FAD, Align Acc and speed of Foley-Flow and the papers it compares with",
        metrics=("kl_passt", "frechet_vggish", "align_acc", "generation_time"),
        hearing=AudioPreprocessing(channels="first", resampler="sinc", duration_s=10.0),
        narrow_hz=8000,
        notes=(
            "KLD: softmax of 527 PaSST logits, KL(true || generated) summed over classes, mean "
            "over pairs, no epsilon; sounds below 10 s are filled with zeros",
            "FAD: VGGish without its last ReLU, PCA and quantising; all patches of 0.96 s of all "
            "pairs; sounds below 10 s as they are, what is left of a patch is dropped",
            "the published system makes 8 kHz sound: figures stand against full-band references "
            "and against references below 4 kHz, as two rows",
            "no script of this protocol is public: it is rebuilt by reading",
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
        hearing=AudioPreprocessing(centred=True, resampler="sinc", duration_s=8.0, short="refused"),
        notes=(
            "sounds below 8 s are refused and listed (the script drops them from a batch or stops)",
            "PaSST hears 10 s: 8 s and zeros; VGGish 8 patches of each sound",
            "Fréchet distances are over paired clips; the script takes all files of either side",
        ),
    ),
}


def protocol_named(name: str) -> Protocol:
    """A protocol by its name.

    Args:
        name: as in `PROTOCOLS`.

    Raises:
        ConfigError: there is none of that name.

    Source: ours.
    """
    if name not in PROTOCOLS:
        near = difflib.get_close_matches(name, PROTOCOLS, n=1, cutoff=0.0)[0]
        raise ConfigError(
            f"no protocol {name!r}: expected one of {', '.join(PROTOCOLS)}",
            hint=f"did you mean {near}?",
        )
    return PROTOCOLS[name]
