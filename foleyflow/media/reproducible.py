"""Options that make x264 encode the same frames to the same packets in every run on one machine.

x264's AVX-512 code is not deterministic: on one thread, about one encode in three gave other
packets. Its AVX2 code is, so processors with AVX-512 are restricted to AVX2. (With asm=AVX2, ten of
ten encodes were equal on a processor with AVX-512 and AMX.) Other processors get no option, because
requesting instructions that a processor lacks would end the process.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from foleyflow.system.processor import processor_features

X264_PARAMETERS = "x264-params"


def reproducible_x264(
    options: Mapping[str, str], *, features: Collection[str] | None = None
) -> dict[str, str]:
    """Add what reproducible output needs to other options of the encoder "libx264".

    The caller still has to encode on one thread. `features` are the instruction sets of the
    processor; None for those of this machine.
    """
    if "avx512f" not in (processor_features() if features is None else features):
        return dict(options)
    given = options.get(X264_PARAMETERS)
    return {**options, X264_PARAMETERS: f"{given}:asm=AVX2" if given else "asm=AVX2"}
