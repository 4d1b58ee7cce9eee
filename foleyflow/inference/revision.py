"""Makes an earlier result again from its sidecar, and changes a part of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from foleyflow.clock import count_at
from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import MediaError
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.inference.result import Generated, cues_after
from foleyflow.inference.sidecar import Sidecar, sound_sha256
from foleyflow.media import MediaInfo


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A change of an earlier result.

    Attributes:
        sidecar: of the earlier result.
        range_s: start and end of the stretch to generate again; None if only cues change.
        seed: of the stretch; None for one that the result has not used yet.
    """

    sidecar: Sidecar
    range_s: tuple[float, float] | None = None
    seed: int | None = None


def repeat_result(
    model: FoleyFlow,
    info: MediaInfo,
    sidecar: Sidecar,
    *,
    progress: Callable[[float], None] | None = None,
) -> Generated:
    """An earlier result with all its edits, generated again.

    It has a warning if its samples differ from those of the earlier result, as they may with
    another device, processor or version of PyTorch.

    Args:
        model: with the weights of the result (`Sidecar.check_weights`).
        info: the video.
        sidecar: of the result.
        progress: called with the seconds of video processed.

    Raises:
        MediaError: the video has another length than the result, or can't be used.
        ConfigError: a setting in the sidecar is out of range.
    """
    record, rate_hz = sidecar.record, model.codec.config.rate_hz
    count, expected = (count_at(s, rate_hz) for s in (info.duration_s, record["duration_s"]))
    if max(count, 1) != expected:
        raise MediaError(
            f"{info.path}: has {info.duration_s:.3f} s, but {sidecar.result} was generated for "
            f"{record['duration_s']:.3f} s",
            hint="give the video that the result was generated for",
        )
    result = model.generate(
        info,
        cues=sidecar.first_cues if model.materials else None,
        seed=record["seed"],
        steps=record["steps"],
        guidance=record["guidance"],
        material=None if record["material"] == "auto" else record["material"],
        loudness_lufs=record["loudness_lufs"],
        library=record.get("library"),
        library_variation=record.get("library_variation", True),
        reference=record.get("reference"),
        stereo=sidecar.first_stereo,
        progress=progress,
    )
    warnings = list(result.warnings)
    # Its edits, in their order
    after = cues_after(sidecar.edits, sidecar.cues)
    for edit, cues in zip(sidecar.edits, after, strict=True):
        if edit.stereo is not None:
            result = result.with_stereo(edit.stereo)
        elif edit.start_s is None or edit.end_s is None:
            result = result.rerender(cues)
        else:
            own = cues if model.materials else None
            result = result.regenerate(edit.start_s, edit.end_s, seed=edit.seed, cues=own)
    difference = _difference(result, sidecar)
    result.warnings = warnings + [text for text in result.warnings if text not in warnings]
    result.warnings += [difference] if difference else []
    return result


def revise(
    model: FoleyFlow,
    info: MediaInfo,
    revision: Revision,
    *,
    cues: CueSheet | None,
    progress: Callable[[float], None] | None = None,
) -> Generated:
    """An earlier result with a stretch generated again, or with other cues.

    Without a range and without cues, it is the earlier result. All samples that the change does not
    concern are those of the earlier result; see `Generated.regenerate` and `Generated.rerender`.

    Args:
        model, info, progress: see `repeat_result`, also for errors.
        revision: what to change.
        cues: of the new sound; None keeps them.

    Raises:
        MediaError: samples that should stay can't be made again here.
        ConfigError: the range is not within the clip, or cues outside it differ.
    """
    result = repeat_result(model, info, revision.sidecar, progress=progress)
    timings_s, warnings = result.timings_s, result.warnings
    if revision.range_s is None and cues is None:
        return result
    if difference := _difference(result, revision.sidecar):
        raise MediaError(
            f"{revision.sidecar.result}: {difference}, so the rest of it can't be kept",
            hint="use the device, precision and versions that made it, or generate the video again",
        )
    if revision.range_s is not None:
        result = result.regenerate(*revision.range_s, seed=revision.seed, cues=cues)
    elif cues is not None:
        result = result.rerender(cues)
    result.warnings = warnings + [text for text in result.warnings if text not in warnings]
    total_s = timings_s["total"] + result.timings_s["total"]
    result.timings_s = {**timings_s, "total": total_s}
    return result


def _difference(result: Generated, sidecar: Sidecar) -> str:
    """How a repeated result differs from the earlier one; empty if all its samples are equal."""
    record = sidecar.record
    expected = record.get("sound_sha256")
    if expected is None or sound_sha256(result) == expected:
        return ""
    others = [
        f"{key} {result.settings[key]} instead of {record[key]}"
        for key in ("device", "precision", "threads")
        if key in record and result.settings[key] != record[key]
    ]
    reason = f" ({', '.join(others)})" if others else ""
    return f"its samples can't be made again exactly on this machine{reason}"
