"""An aligner's monitors over batches of validation windows, for the journal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from foleyflow.alignment.losses import onset_loss
from foleyflow.alignment.masking import sample_visible_mask
from foleyflow.alignment.model import Alignment
from foleyflow.alignment.monitors import (
    COLLAPSED,
    deviation,
    errors_by_distance,
    r2,
    shifted_errors,
    squares,
)
from foleyflow.alignment.targets import FeatureTarget, MelPatches
from foleyflow.training.task import Batch


@torch.no_grad()
def validation_figures(
    model: Alignment,
    batches: Iterable[Batch],
    *,
    mel_of: MelPatches,
    target: FeatureTarget,
    ratio: float,
    longest_block: int,
    shifts_s: tuple[float, ...],
) -> dict[str, float]:
    """What the journal says of an aligner.

    Args:
        model: in eval mode.
        batches: windows as `WindowSource.draw` gives them, at least two clips each.
        mel_of: makes log-mel of sound.
        target: what is recovered.
        ratio, longest_block: of the masks for the figures with some segments visible.
        shifts_s: of the time-shift curve; those beyond a quarter of the window are left out.

    Returns:
        "r2", "r2_gain" (over another clip's video), the same for "mel" and "energy", all with
        everything hidden; "r2_masked" and "r2_gain_masked" at `ratio`; "r2_distance_1" .. by
        distance to the nearest visible segment; "r2_shift_-400ms" ..; "onset" (loss); "onset_f1"
        where any event is known; "material_accuracy" where any is known; "video_deviation",
        "state_deviation", and "collapsed", 1 where either is below `COLLAPSED`.

    Source: method section B.9.
    """
    sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
    means: dict[str, list[float]] = defaultdict(list)
    has_events = False
    generator = torch.Generator().manual_seed(0)
    for batch in batches:
        times_s, present = batch["times_s"], batch["present"]
        has_events |= bool((batch["onsets"] > 0).any())
        video = model.contextualise(
            model.watch(batch["pixels"], times_s, present), times_s, present
        )
        mel = mel_of(batch["sound"])
        goals = {"latents": target(batch, mel), "mel": mel_of.targets(mel)}
        segments = goals["mel"].shape[1]
        longest_s = segments * model.config.segment_s / 4
        shifts_s = tuple(shift_s for shift_s in shifts_s if abs(shift_s) <= longest_s)
        kept = sample_visible_mask(
            len(video), segments, ratio=ratio, longest_block=longest_block, generator=generator
        ).to(video.device)
        own = torch.arange(len(video))
        for name, order in (("true", own), ("other", own.roll(1))):
            seen, at_s, shown = video[order], times_s[order], present[order]
            settings = {"segments": segments, "present": shown}
            recovered = model.recover(seen, at_s, mel=None, kept=None, **settings)
            for part, pair in squares(recovered, **goals).items():
                sums[f"{name}/{part}"] = sums[f"{name}/{part}"] + _sum(pair)
            masked = model.recover(seen, at_s, mel=mel, kept=kept, **settings)
            pair = squares(masked, **goals)["latent"]
            sums[f"{name}/masked"] = sums[f"{name}/masked"] + _sum(pair, ~kept)
            if name == "true":
                sums["distance"] = sums["distance"] + errors_by_distance(pair, kept).cpu()
                means["state_deviation"].append(deviation(recovered.states))
                hidden = torch.ones_like(kept)
                means["onset"].append(float(onset_loss(recovered.onsets, batch["onsets"], hidden)))
                means["onset_f1"].append(best_onset_f1(recovered.onsets, batch["onsets"]))
        moved = shifted_errors(
            model, video, times_s, **goals, shifts_s=torch.tensor(shifts_s), present=present
        )
        sums["shift"] = sums["shift"] + moved.cpu()
        means["video_deviation"].append(deviation(video, present))
        known = batch["material"] >= 0
        if bool(known.any()):
            right = model.classify(video, present).argmax(-1) == batch["material"]
            means["material_accuracy"].append(float(right[known].float().mean()))
    figures = {"r2": _r2(sums["true/latent"])}
    figures["r2_gain"] = figures["r2"] - _r2(sums["other/latent"])
    for part in ("mel", "energy"):
        figures[f"r2_{part}"] = _r2(sums[f"true/{part}"])
        figures[f"r2_gain_{part}"] = figures[f"r2_{part}"] - _r2(sums[f"other/{part}"])
    figures["r2_masked"] = _r2(sums["true/masked"])
    figures["r2_gain_masked"] = figures["r2_masked"] - _r2(sums["other/masked"])
    for away, value in enumerate(r2(sums["distance"]).tolist(), start=1):
        if np.isfinite(value):  # with few segments hidden none may be so far away
            figures[f"r2_distance_{away}"] = value
    for shift_s, value in zip(shifts_s, r2(sums["shift"]).tolist(), strict=True):
        figures[f"r2_shift_{round(1000 * shift_s):+d}ms"] = value
    if not has_events:  # real clips have no labels
        means.pop("onset_f1", None)
    figures |= {name: float(np.mean(values)) for name, values in means.items()}
    figures["collapsed"] = float(
        min(figures["video_deviation"], figures["state_deviation"]) < COLLAPSED
    )
    return figures


def best_onset_f1(logits: Tensor, targets: Tensor) -> float:
    """Best F1 over thresholds of peaks of the onset probability, matched within 2 frames."""
    probability = logits.sigmoid().float().cpu().numpy()
    truth = targets.cpu().numpy() > 0.9
    best = 0.0
    for threshold in (0.3, 0.5, 0.7, 0.85):
        hits = found = wanted = 0
        for row, true_row in zip(probability, truth, strict=True):
            inner = row[1:-1]
            peaks = 1 + np.flatnonzero(
                (inner > threshold) & (inner >= row[:-2]) & (inner > row[2:])
            )
            events = np.flatnonzero(true_row)
            found, wanted = found + len(peaks), wanted + len(events)
            used: set[int] = set()
            for peak in peaks:
                near = [e for e in events if abs(e - peak) <= 2 and e not in used]
                if near:
                    used.add(min(near, key=lambda e: abs(e - peak)))
                    hits += 1
        best = max(best, 2 * hits / max(1, found + wanted))
    return best


def _sum(pair: tuple[Tensor, Tensor], where: Tensor | None = None) -> Tensor:
    """(2,) sums of errors and targets, on the CPU."""
    chosen = [part if where is None else part[where] for part in pair]
    return torch.stack([part.sum() for part in chosen]).cpu()


def _r2(sums: Tensor) -> float:
    return float(r2(sums))
