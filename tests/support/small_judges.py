"""Small versions of the published judges' networks with random weights, and random input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from foleyflow.encoders.imagebind import ImageBindAudio, ImageBindVision, TrunkShape
from foleyflow.judges.networks.cavp import Cavp
from foleyflow.judges.networks.diff_foley import AlignmentClassifier, DiffFoleyConfig
from foleyflow.judges.networks.imagebind import ImageBind
from foleyflow.judges.networks.panns import Cnn14
from foleyflow.judges.networks.passt import Passt, PasstConfig
from foleyflow.judges.networks.synchformer import Synchformer, SynchformerConfig
from foleyflow.judges.networks.vggish import Vggish
from foleyflow.judges.weights import FILES

SMALL_PASST = PasstConfig(width=8, depth=2, heads=2, classes=5)
SMALL_SYNCHFORMER = SynchformerConfig(
    width=8, depth=2, heads=2, compare_depth=2, compare_heads=2, side=32
)
SMALL_DIFF_FOLEY = DiffFoleyConfig(
    encoder_width=32, encoder_factors=(1, 1, 2, 2), encoder_blocks=1, width=32, heads=2, features=8
)
SMALL_TRUNK = TrunkShape(width=8, depth=2, heads=2, joint=6)
SMALL_CLAP = {
    "patch_embeds_hidden_size": 8,
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 1, 2, 2],
    "hidden_size": 64,
    "projection_dim": 6,
}


def small_clap() -> nn.Module:
    """A small CLAP; needs transformers."""
    from foleyflow.judges.networks.clap import Clap

    return Clap(SMALL_CLAP)


# Key of `FILES` -> its small network
SMALL_NETWORKS = {
    "vggish": lambda: Vggish((2, 3, 4, 5), 6),
    "panns": lambda: Cnn14((2, 3, 4, 5, 6, 7), 11),
    "passt": lambda: Passt(SMALL_PASST),
    "clap": small_clap,
    "synchformer": lambda: Synchformer(SMALL_SYNCHFORMER),
    "diff-foley": lambda: AlignmentClassifier(SMALL_DIFF_FOLEY),
    "cavp": lambda: Cavp(4, (1, 1, 2, 1), 8),
    "imagebind": lambda: ImageBind(
        ImageBindVision(SMALL_TRUNK, side=28), ImageBindAudio(SMALL_TRUNK)
    ),
}


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights and batch norm statistics, except for filters and Fourier weights."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            fixed = any(part in name for part in ("conv_real", "conv_imag", "filters", "melW"))
            if fixed or not value.is_floating_point():
                continue
            value.copy_(0.1 * torch.randn(value.shape, generator=generator))
            if "running_var" in name:
                value.abs_().add_(0.5)
    return module.eval()


def noise(shape, seed=0):
    """Uniform float32 noise."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform(-0.5, 0.5, shape).astype(np.float32))


def shapes(module):
    """Tensor name -> shape."""
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def published_shapes(build):
    """The `shapes` of a network of the published size, without memory for its tensors."""
    with torch.device("meta"):
        return shapes(build())


def attend_by_head(query, key, value, heads):
    """Attention of (N, D), head by head."""
    width = query.shape[1] // heads
    mixed = []
    for head in range(heads):
        part = slice(width * head, width * head + width)
        weights = (query[:, part] @ key[:, part].T / width**0.5).softmax(1)
        mixed.append(weights @ value[:, part])
    return torch.cat(mixed, 1)


def triangle(points, edges):
    """A triangle of unit peak with the edges (low, centre, high), at points (K,)."""
    low, centre, high = edges
    rising, falling = (points - low) / (centre - low), (high - points) / (high - centre)
    return np.clip(np.minimum(rising, falling), 0, None)


# Tensors in published files that evaluation does not need
UNUSED = {
    "vggish": ("pproc.pca_means",),
    "synchformer": ("vfeat_extractor.patch_embed.proj.bias",),
    "clap": ("text_model.pooler.dense.bias", "logit_scale_a"),
    "cavp": ("logit_scale", "spec_encoder.fc1.bias"),
    "diff-foley": ("first_stage_model.decoder.conv_in.bias", "scale_factor", "sqrt_alphas_cumprod"),
}


def published_content(name, file, tensors):
    """The tensors in the layout of the published file."""
    unused = {key: torch.zeros(1) for key in UNUSED.get(name, ())}
    tensors = {file.prefix + key: value for key, value in {**tensors, **unused}.items()}
    if file.key is None:
        return tensors
    return {file.key: tensors, "iteration": 1, "sampler": {"i": np.arange(3)}}


def publish_judge(name: str, folder: Path) -> Path:
    """Write small random weights in the layout and with the name of a published file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILES[name].name
    tensors = randomised(SMALL_NETWORKS[name]()).state_dict()
    torch.save(published_content(name, FILES[name], tensors), path)
    return path
