"""Edits of a result, and its stems: what `Generated` does with the networks of its model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from foleyflow.cues.sheet import CueSheet
from foleyflow.inference.cue_checks import check_stereo, fit_to_clip
from foleyflow.inference.motion import with_pans
from foleyflow.inference.ranges import check_range, unused_seed
from foleyflow.inference.rerendering import edit_take, regenerate_range
from foleyflow.inference.result import Edit, Generated
from foleyflow.inference.spotting import place_warnings
from foleyflow.inference.stem_references import stem_plans
from foleyflow.inference.stems import Stem, StemKind, split_into_stems
from foleyflow.inference.stereo import pan_edited_take, pan_take
from foleyflow.inference.takes import Take


def rerender(result: Generated, cues: CueSheet) -> Generated:
    """See `Generated.rerender`."""
    start_s, model = time.perf_counter(), result._model
    cues = fitted_cues(result, cues)
    take = edit_take(
        model.codec,
        model.flow,
        result._take,
        result.cues,
        cues,
        plan=model.plan,
        threads=model.threads,
    )
    take = _panned(result, take, cues, moves_cues=True)
    return _edited(result, take, cues, Edit(cues_before=result.cues), start_s)


def regenerate(
    result: Generated,
    range_start_s: float,
    range_end_s: float,
    *,
    seed: int | None,
    cues: CueSheet | None,
) -> Generated:
    """See `Generated.regenerate`."""
    start_s, model = time.perf_counter(), result._model
    sheet = result.cues
    if cues is not None:
        sheet = fitted_cues(result, cues)
    seed = unused_seed(result) if seed is None else seed
    stretch = check_range(result, range_start_s, range_end_s, seed=seed, cues=sheet)
    take = regenerate_range(
        model.codec,
        model.flow,
        result._take,
        sheet,
        stretch,
        seed=seed,
        plan=model.plan,
        threads=model.threads,
    )
    take = _panned(result, take, sheet, moves_cues=False)
    edit = Edit(cues_before=result.cues, start_s=stretch.start_s, end_s=stretch.end_s, seed=seed)
    return _edited(result, take, sheet, edit, start_s)


def with_stereo(
    result: Generated, stereo: bool, *, progress: Callable[[float], None] | None
) -> Generated:
    """See `Generated.with_stereo`."""
    start_s, model = time.perf_counter(), result._model
    take, cues, warnings = result._take, result.cues, list[str]()
    if stereo == (result.channels == 2):
        return result
    if stereo:
        check_stereo(model.flow.config)
        cues = with_pans(cues, take.analysis.motion)
        warnings = place_warnings(cues)
        take = pan_take(
            model.codec,
            model.flow,
            take,
            cues,
            plan=model.plan,
            threads=model.threads,
            progress=progress,
        )
    else:
        take = replace(take, panned=None, panned_patches=())
    edited = _edited(result, take, cues, Edit(cues_before=result.cues, stereo=stereo), start_s)
    edited.settings["stereo"] = stereo
    edited.warnings += warnings
    return edited


def stems_of(result: Generated, by: StemKind) -> list[Stem]:
    """See `Generated.stems`."""
    model = result._model
    plans = stem_plans(
        model.codec,
        model.flow,
        result._take,
        result.cues,
        by=by,
        plan=model.plan,
        threads=model.threads,
    )
    return split_into_stems(
        result.blocks(),
        plans,
        channels=result.channels,
        rate_hz=result.sample_rate_hz,
        sample_count=result.sample_count,
    )


def fitted_cues(result: Generated, cues: CueSheet) -> CueSheet:
    """Edited cues for a result; if it is stereo, those without a pan get one."""
    config = result._model.flow.config
    sheet = fit_to_clip(cues, config, duration_s=result.info.duration_s)
    return sheet if result.channels == 1 else with_pans(sheet, result._take.analysis.motion)


def _panned(result: Generated, take: Take, cues: CueSheet, *, moves_cues: bool) -> Take:
    """The edited take of a result with its stereo sound; that of a mono result is unchanged."""
    if result.channels == 1:
        return take
    model = result._model
    return pan_edited_take(
        model.codec,
        model.flow,
        result._take,
        take,
        result.cues,
        cues,
        plan=model.plan,
        threads=model.threads,
        moves_cues=moves_cues,
    )


def _edited(result: Generated, take: Take, cues: CueSheet, edit: Edit, start_s: float) -> Generated:
    return replace(
        result,
        cues=cues,
        settings=dict(result.settings),
        timings_s={"total": time.perf_counter() - start_s},
        warnings=take.warnings(),
        _edits=(*result._edits, edit),
        _take=take,
    )
