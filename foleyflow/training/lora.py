"""Low-rank adapters (LoRA) for fine-tuning: added before training and merged after it.

Only the linear layers of the transformer stacks get adapters. A merged model has the layers, the
tensor names and the cost of the original.
"""

from __future__ import annotations

from torch import nn

from foleyflow.errors import ConfigError, import_failure


def add_adapters_(module: nn.Module, rank: int) -> list[str]:
    """Freezes a model and adds trainable adapters to its `nn.ModuleList`s of blocks.

    The output does not change until the adapters are trained.

    Returns:
        The names of the adapted layers.

    Raises:
        ConfigError: the rank is out of range, or the model has no stacks.
        MissingExtra: peft is not installed.

    Reference: Hu et al. 2021 (LoRA), with alpha = 2 rank.
    """
    layers = [
        f"{stack}.{name}"
        for stack, blocks in module.named_modules()
        if isinstance(blocks, nn.ModuleList)
        for name, layer in blocks.named_modules()
        if isinstance(layer, nn.Linear)
    ]
    if rank < 1 or not layers:
        raise ConfigError(
            f"--lora {rank}: expected a rank of at least 1, and a model with stacks of blocks",
            hint="align and flow have such stacks; 8 is a common rank",
        )
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise import_failure(error, "peft", "finetune") from error
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=layers), module)
    return layers


def merge_adapters_(module: nn.Module) -> None:
    """Adds the adapters to the weights of their layers and removes them."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in list(module.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge(safe_merge=True)  # raises if a sum is not finite
            parent, _, own = name.rpartition(".")
            setattr(module.get_submodule(parent), own, layer.get_base_layer())
