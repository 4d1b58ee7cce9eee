"""Options of x264 under which the same frames always give the same packets on one machine.

x264's AVX-512 code is not deterministic: the same frames on one thread gave other packets in about
one encode of three. Its AVX2 code is, so that processors with AVX-512 are kept to AVX2. Elsewhere
nothing is asked for: a set of instructions that the processor lacks would end the process.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from foleyflow.system.processor import processor_features

X264_PARAMETERS = "x264-params"


def reproducible_x264(
    options: Mapping[str, str], *, features: Collection[str] | None = None
) -> dict[str, str]:
    """Options of an encoder "libx264" with what keeps its output the same in every run.

    The caller still has to encode on one thread.

    Args:
        options: the encoder's other options.
        features: of the processor; None for those of this machine.

    Source: ours. Measured on a processor with AVX-512 and AMX: with asm=AVX2, ten of ten encodes
        were equal.
    """
    if "avx512f" not in (processor_features() if features is None else features):
        return dict(options)
    given = options.get(X264_PARAMETERS)
    parameters = [*([given] if given else []), "asm=AVX2"]
    return {**options, X264_PARAMETERS: ":".join(parameters)}
