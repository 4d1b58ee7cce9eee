"""The recipe that adapts a trained aligner to recordings with their own sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foleyflow.alignment.model import Alignment
from foleyflow.data.windows import WindowConfig, WindowSource
from foleyflow.features.codec_latents import window_source
from foleyflow.inference.sound_onsets import find_onsets
from foleyflow.pretrained import load_aligner
from foleyflow.recipes.align import tiny, vama
from foleyflow.signals import INT16_FULL_SCALE
from foleyflow.training.task import Recipe, TrainConfig
from foleyflow.training.tasks.adaptation import AdaptTask
from foleyflow.training.tasks.alignment import AlignLossConfig, AlignTask


@dataclass(frozen=True, kw_only=True)
class AdaptRecipe(Recipe):
    """Configuration of an adaptation.

    Attributes:
        model: folder of the codec and of the aligner that is adapted.
        simulated: data set of simulated clips with training and validation splits.
        simulated_fraction: of each batch.
        real_losses: terms of the recordings, whose events are the onsets detected in their sound.
        simulated_losses: terms of the simulated clips; those of labels are left out for an aligner
            that does not predict them.
    """

    task: ClassVar[str] = "adapt"
    component: ClassVar[str] = "align"
    model: str
    simulated: str
    simulated_fraction: float = 0.5
    windows: WindowConfig = field(default_factory=WindowConfig)
    real_losses: AlignLossConfig = field(
        default_factory=lambda: replace(vama().losses, onset_from="labels")
    )
    simulated_losses: AlignLossConfig = field(default_factory=lambda: tiny().losses)
    train: TrainConfig

    def build(self, data: Path) -> AdaptTask:
        """The task on a data set of recordings."""
        model = load_aligner(Path(self.model))
        simulated_losses = self.simulated_losses
        if not model.config.predicts_attributes:
            simulated_losses = replace(
                simulated_losses, cue_level=0.0, cue_material=0.0, friction=0.0
            )
        return AdaptTask(
            self._align_task(model, data, self.real_losses, onsets_are_events),
            self._align_task(model, Path(self.simulated), simulated_losses, lambda source: source),
            simulated_fraction=self.simulated_fraction,
        )

    def _align_task(
        self,
        model: Alignment,
        data: Path,
        losses: AlignLossConfig,
        prepared: Callable[[WindowSource], WindowSource],
    ) -> AlignTask:
        train, validation = (
            prepared(window_source(data, split, codec_folder=Path(self.model), config=self.windows))
            for split in ("train", "validation")
        )
        return AlignTask(model, losses, windows=train, held_out_windows=validation)


def onsets_are_events(source: WindowSource) -> WindowSource:
    """The same windows, in which the events are the onsets detected in the sounds.

    The soft onset strength of the recipe `vama` is not used: in noisy recordings it is above 0
    nearly everywhere, so that the probabilities would follow the noise.
    """

    def onsets_s(sound: NDArray[np.int16]) -> NDArray[np.float64]:
        samples = (sound / INT16_FULL_SCALE).astype(np.float32)[None]
        return find_onsets(lambda: [samples], source.rate_hz)

    events = [onsets_s(sound) for sound in source.clips.sounds]
    clips = replace(source.clips, event_times_s=events, cues=())
    return WindowSource(clips, source.latents, source.config)


def adapt(
    *, model: Path, simulated: Path, segments: int, steps: int, simulated_fraction: float, seed: int
) -> AdaptRecipe:
    """The recipe of `foleyflow adapt`: the losses of `vama` on recordings, of `tiny` on simulation.

    Half of every batch of 12 windows is simulated by default. 300 steps take 10 to 15 minutes on
    one core.
    """
    warmup = max(1, min(30, steps // 10))
    return AdaptRecipe(
        model=str(model),
        simulated=str(simulated),
        simulated_fraction=simulated_fraction,
        windows=WindowConfig(segments=segments),
        train=TrainConfig(
            steps=steps,
            batch_clips=12,
            learning_rate=2e-4,
            warmup_steps=warmup,
            decay_fraction=0.5,
            weight_decay=0.05,
            ema=0.98,
            seed=seed,
            log_every=5,
            validate_every=steps,
            save_every=25,
        ),
    )
