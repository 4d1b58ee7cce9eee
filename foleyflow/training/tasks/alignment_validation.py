"""Monitors of an aligner on validation windows, for the journal."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from foleyflow.alignment.contrastive import ContrastiveLosses
from foleyflow.alignment.losses import onset_loss
from foleyflow.alignment.masking import sample_visible_mask, visible_fraction
from foleyflow.alignment.model import Alignment
from foleyflow.alignment.monitors import (
    COLLAPSED,
    errors_by_distance,
    feature_deviation,
    r2,
    shifted_errors,
    squared_errors,
)
from foleyflow.alignment.targets import FeatureTarget, MelPatches
from foleyflow.training.task import Batch, Figures


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
    contrast: Callable[[Alignment, Batch, Tensor, Tensor], ContrastiveLosses] | None = None,
) -> Figures:
    """Monitors of an aligner in eval mode.

    Args:
        batches: windows as `WindowSource.draw` returns them, at least two clips each.
        ratio, longest_block: of the masks for figures with some visible segments.
        shifts_s: of the time-shift curve; shifts beyond a quarter of the window are left out.
        contrast: losses of the model, a batch, features of its frames and its log-mel; None for an
            aligner without contrast.

    Returns:
        "r2", "r2_gain" (over another clip's video), the same for "mel" and "energy", all with
        everything hidden; "r2_masked" and "r2_gain_masked" at `ratio`, and "visible_fraction", the
        measured fraction of visible frames there; "r2_distance_1" .. by distance to the nearest
        visible segment; "r2_shift_-400ms" ..; "onset" (loss); "onset_f1" if any event is labelled;
        "material_accuracy" if any material is; with `contrast`, the losses "contrast" and
        "stretches", and "contrast_chance", the former for uninformative embeddings;
        "video_deviation", "state_deviation", and "collapsed", 1 if either is below `COLLAPSED`.
        See docs/method.md, section 2.5.
    """
    sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
    means: dict[str, list[float]] = defaultdict(list)
    has_events = False
    generator = torch.Generator().manual_seed(0)
    for batch in batches:
        # Video features, targets and masks
        times_s, present = batch["times_s"], batch["present"]
        has_events |= bool((batch["onsets"] > 0).any())
        features = model.encode_video(batch["pixels"], present=present)
        video = model.add_temporal_context(features, times_s, present)
        mel = mel_of(batch["sound"])
        targets = {"latents": target(batch, mel), "mel": mel_of.targets(mel)}
        segments = targets["mel"].shape[1]
        longest_s = segments * model.config.segment_s / 4
        shifts_s = tuple(shift_s for shift_s in shifts_s if abs(shift_s) <= longest_s)
        visible = sample_visible_mask(
            len(video),
            segments,
            frames_per_segment=model.config.mel_frames_per_segment,
            ratio=ratio,
            longest_block=longest_block,
            generator=generator,
        ).to(video.device)
        means["visible_fraction"].append(
            visible_fraction(visible, model.config.mel_frames_per_segment)
        )

        # Recovery from the clip's own video and from another clip's
        own = torch.arange(len(video))
        for name, order in (("true", own), ("other", own.roll(1))):
            reconstruct = functools.partial(
                model.reconstruct,
                video[order],
                times_s[order],
                segments=segments,
                present=present[order],
            )
            recovered = reconstruct(mel=None, visible=None)
            for part, pair in squared_errors(recovered, **targets).items():
                sums[f"{name}/{part}"] = sums[f"{name}/{part}"] + _sum(pair)
            masked_pair = squared_errors(reconstruct(mel=mel, visible=visible), **targets)["latent"]
            sums[f"{name}/masked"] = sums[f"{name}/masked"] + _sum(masked_pair, ~visible)
            if name == "true":
                sums["distance"] = sums["distance"] + errors_by_distance(masked_pair, visible).cpu()
                means["state_deviation"].append(feature_deviation(recovered.states))
                hidden = torch.ones_like(visible)
                means["onset"].append(float(onset_loss(recovered.onsets, batch["onsets"], hidden)))
                means["onset_f1"].append(best_onset_f1(recovered.onsets, batch["onsets"]))

        # Contrast, time shifts, deviation of features and materials
        if contrast is not None:
            contrastive = contrast(model, batch, features, mel)
            means["contrast"].append(float(contrastive.contrast))
            means["stretches"].append(float(contrastive.stretches))
            means["contrast_chance"].append(contrastive.chance)
        shifts = torch.tensor(shifts_s)
        shifted = shifted_errors(model, video, times_s, **targets, shifts_s=shifts, present=present)
        sums["shift"] = sums["shift"] + shifted.cpu()
        means["video_deviation"].append(feature_deviation(video, present))
        labelled = batch["material"] >= 0
        if bool(labelled.any()):
            correct = model.classify_material(video, present).argmax(-1) == batch["material"]
            means["material_accuracy"].append(float(correct[labelled].float().mean()))
    if not has_events:  # real clips have no labels
        means.pop("onset_f1", None)
    return _figures(sums, means, shifts_s)


def _figures(
    sums: Mapping[str, Tensor], means: Mapping[str, list[float]], shifts_s: tuple[float, ...]
) -> Figures:
    figures = {"r2": _r2(sums["true/latent"])}
    figures["r2_gain"] = figures["r2"] - _r2(sums["other/latent"])
    for part in ("mel", "energy"):
        figures[f"r2_{part}"] = _r2(sums[f"true/{part}"])
        figures[f"r2_gain_{part}"] = figures[f"r2_{part}"] - _r2(sums[f"other/{part}"])
    figures["r2_masked"] = _r2(sums["true/masked"])
    figures["r2_gain_masked"] = figures["r2_masked"] - _r2(sums["other/masked"])
    for distance, value in enumerate(r2(sums["distance"]).tolist(), start=1):
        if np.isfinite(value):  # with few hidden segments none may be this far away
            figures[f"r2_distance_{distance}"] = value
    for shift_s, value in zip(shifts_s, r2(sums["shift"]).tolist(), strict=True):
        figures[f"r2_shift_{round(1000 * shift_s):+d}ms"] = value
    figures |= {name: float(np.mean(values)) for name, values in means.items()}
    smallest = min(figures["video_deviation"], figures["state_deviation"])
    figures["collapsed"] = float(smallest < COLLAPSED)
    return figures


def best_onset_f1(logits: Tensor, targets: Tensor) -> float:
    """Best F1 over thresholds of peaks of the onset probability, matched within 2 frames."""
    probability = logits.sigmoid().float().cpu().numpy()
    is_event = targets.cpu().numpy() > 0.9
    best = 0.0
    for threshold in (0.3, 0.5, 0.7, 0.85):
        hits = peak_count = event_count = 0
        for row, event_row in zip(probability, is_event, strict=True):
            inner = row[1:-1]
            is_peak = (inner > threshold) & (inner >= row[:-2]) & (inner > row[2:])
            peaks = (1 + np.flatnonzero(is_peak)).tolist()
            events: list[int] = np.flatnonzero(event_row).tolist()
            peak_count, event_count = peak_count + len(peaks), event_count + len(events)
            for peak in peaks:  # each event is matched once
                near = [event for event in events if abs(event - peak) <= 2]
                if near:
                    events.remove(min(near, key=lambda event: abs(event - peak)))
                    hits += 1
        best = max(best, 2 * hits / max(1, peak_count + event_count))
    return best


def _sum(pair: tuple[Tensor, Tensor], where: Tensor | None = None) -> Tensor:
    """(2,) sums of errors and targets, on the CPU."""
    return torch.stack([(x if where is None else x[where]).sum() for x in pair]).cpu()


def _r2(sums: Tensor) -> float:
    return float(r2(sums))
