"""Vision transformers of timm, for images and spectrograms; the only module that imports timm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from foleyflow.errors import ConfigError, MissingExtra


def timm_trunk(architecture: str, **settings: Any) -> nn.Module:
    """A timm network with random weights and without a head.

    Its `forward_features` returns (N, prefix + patches, W) tokens. `settings` change the published
    architecture. A MissingExtra is raised if timm is not installed, and a ConfigError if it can't
    be imported because torchvision does not fit torch.
    """
    try:
        import timm
    except ImportError as error:
        raise MissingExtra("timm", "encoders") from error
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        raise ConfigError(
            f"timm can't be imported: torchvision and torch are not built for each other ({error})",
            hint="install both from the same source, for the same device: see "
            "https://pytorch.org/get-started/locally",
        ) from error
    return timm.create_model(architecture, pretrained=False, num_classes=0, **settings)


def without_heads(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published tensors of a trunk without its head.

    Classifiers, projections and decoders are removed; a final norm after pooling ("fc_norm")
    becomes the norm of the trunk.
    """
    left_out = ("head.", "decoder", "mask_token")
    return {
        ("norm." + key.removeprefix("fc_norm.") if key.startswith("fc_norm.") else key): value
        for key, value in tensors.items()
        if not key.startswith(left_out)
    }


def select_eva_trunk(tensors: Mapping[str, Tensor], trunk: nn.Module) -> dict[str, Tensor]:
    """The trunk's tensors of a published EVA-CLIP: its own file, or one of the CLIP (OpenCLIP)."""
    from timm.models.eva import checkpoint_filter_fn

    return without_heads(checkpoint_filter_fn(dict(tensors), trunk))
