"""Recipes of codecs for general sound at full scale, trained against discriminators on GPUs.

They learn from the sound of any data set alone: VGGSound or AudioSet, simulated clips, or a folder
of sound files. Their cost is in docs/scaling.md. Their latents have 50 Hz, so that aligners and
flows of all recipes fit; `codec=` of those recipes names the model folder.

`--set model.rate_hz=44100 --set model.strides=2,3,3,7,7` is `general` at 44.1 kHz.
"""

from __future__ import annotations

from dataclasses import replace

from foleyflow.codec.discriminators import DiscriminatorConfig
from foleyflow.codec.mel_network import MelCodecConfig
from foleyflow.codec.waveform_network import WaveformCodecConfig
from foleyflow.recipes.codec import CodecRecipe
from foleyflow.recipes.sizes import SMOKE_TRAIN
from foleyflow.training.task import TrainConfig
from foleyflow.training.tasks.adversarial_codec import AdversarialConfig
from foleyflow.training.tasks.codec import CodecLossConfig

# Weights relative to the mel term as in the Descript Audio Codec, whose losses are sums
_LOSSES = CodecLossConfig(
    crop_s=0.38,
    mel=6.0,
    spectral=0.0,
    envelope=0.0,
    audible_nepers=0.0,
    fine_spectra=True,
)
SMOKE_DISCRIMINATORS = DiscriminatorConfig(
    periods=(2, 3), period_channels=(4, 4), windows_samples=(256,), spectral_channels=2
)


def general() -> CodecRecipe:
    """48 kHz samples to 64 channels at 50 Hz and back, against all discriminators.

    Command: torchrun --nproc-per-node 8 -m foleyflow train codec --recipe general --data DATA
        --out runs/codec-general

    Reference: Kumar et al. 2023 (Descript Audio Codec) for networks, losses, crops and steps; Evans
        et al. 2024 (Stable Audio Open) for Gaussian latents.
    """
    return CodecRecipe(
        model=WaveformCodecConfig(),
        losses=_LOSSES,
        from_clips=True,
        adversarial=AdversarialConfig(),
        train=TrainConfig(
            steps=400_000,
            batch_clips=72,
            learning_rate=1e-4,
            warmup_steps=1000,
            decay_fraction=0.5,
            beta2=0.99,
            clip_norm=10.0,
            ema=0.9999,
            log_every=50,
            validate_every=5000,
            save_every=1000,
        ),
    )


def general_mel() -> CodecRecipe:
    """48 kHz sound as mel spectra with 40 latent channels at 50 Hz, and a vocoder.

    Command: torchrun --nproc-per-node 8 -m foleyflow train codec --recipe general-mel --data DATA
        --out runs/codec-general-mel

    Reference: Cheng et al. 2024 (MMAudio), section 3.5, for mel spectra, latents and a vocoder.
    """
    return replace(general(), model=MelCodecConfig())


def smoke_general() -> CodecRecipe:
    """A test of all parts of `general` in seconds on a CPU; one step before the discriminators."""
    return replace(
        general(),
        model=WaveformCodecConfig(channels=8, encoder_width=2, decoder_width=2),
        losses=replace(_LOSSES, crop_s=0.1),
        adversarial=AdversarialConfig(networks=SMOKE_DISCRIMINATORS, from_step=1),
        train=SMOKE_TRAIN,
    )


def smoke_mel() -> CodecRecipe:
    """A test of all parts of `general_mel` in seconds on a CPU."""
    return replace(
        smoke_general(),
        model=MelCodecConfig(bands=20, channels=8, width=16, blocks=2, vocoder_width=2),
    )
