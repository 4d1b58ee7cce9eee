"""Low-rank adapters for fine-tuning, by peft: put in before training, merged out after it.

Only the transformer stacks' linear layers get them; everything else stays as it was. A merged
model has the layers, the names and the cost of the one it came from.
"""

from __future__ import annotations

from torch import nn

from foleyflow.errors import ConfigError, why_not_imported


def add_adapters_(module: nn.Module, rank: int) -> list[str]:
    """Freezes a model and gives its stacks' linear layers something small to learn.

    At first the adapters change nothing: one of their two matrices is zero.

    Args:
        module: with stacks of blocks in `nn.ModuleList`s.
        rank: of each adapter, at least 1.

    Returns:
        Names of the layers that have one.

    Raises:
        ConfigError: the rank is out of range, or there is nothing to adapt.
        MissingExtra: peft is not installed.

    Source: Hu et al. 2021 (LoRA), with alpha = 2 rank; peft's `inject_adapter_in_model`.
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
            hint="align and flow have them; 8 is a usual rank",
        )
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise why_not_imported(error, "peft", "finetune") from error
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=layers), module)
    return layers


def merge_adapters_(module: nn.Module) -> None:
    """Adds what adapters learned to the layers they sit on, and takes them out.

    Source: Hu et al. 2021 (LoRA), section 4.1.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in list(module.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge(safe_merge=True)  # raises where a sum is not finite
            parent, _, own = name.rpartition(".")
            setattr(module.get_submodule(parent), own, layer.get_base_layer())
