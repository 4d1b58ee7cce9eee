"""Vision transformers of timm, for pictures and for spectrograms; timm is asked for only here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from foleyflow.errors import ConfigError, MissingExtra


def timm_trunk(architecture: str, **settings: Any) -> nn.Module:
    """A network of timm with random weights, without a head.

    Args:
        architecture: as timm names it.
        settings: of the architecture, where it is not as published (for tests).

    Returns:
        Its `forward_features` gives (N, prefix + patches, W) tokens.

    Raises:
        MissingExtra: timm is not installed.
        ConfigError: timm is there, but torchvision, which it imports, does not fit torch.

    Source: timm (pytorch-image-models).
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
            hint="install both from the same place, for the same device: see "
            "https://pytorch.org/get-started/locally",
        ) from error
    network: nn.Module = timm.create_model(
        architecture, pretrained=False, num_classes=0, **settings
    )
    return network


def without_heads(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published file's tensors as a trunk without a head has them.

    Classifiers, projections and decoders go; a last norm that stands after the pooling there
    ("fc_norm") is the trunk's own.

    Source: ours.
    """
    left_out = ("head.", "decoder", "mask_token")
    return {
        ("norm." + key.removeprefix("fc_norm.") if key.startswith("fc_norm.") else key): value
        for key, value in tensors.items()
        if not key.startswith(left_out)
    }


def of_eva(tensors: Mapping[str, Tensor], trunk: nn.Module) -> dict[str, Tensor]:
    """A published EVA-CLIP's tensors as its trunk has them.

    Both the trunk's own file and one of the whole CLIP (OpenCLIP's names) serve.

    Source: timm's filter for this family.
    """
    from timm.models.eva import checkpoint_filter_fn

    return without_heads(checkpoint_filter_fn(dict(tensors), trunk))
