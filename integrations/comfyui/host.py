"""What the nodes need of ComfyUI: progress, interruption, device, errors and the shared model."""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Callable, Iterable, Iterator

import comfy.model_management
import comfy.utils
import torch

from foleyflow import FoleyFlow, FoleyflowError

logger = logging.getLogger("foleyflow")

_PROGRESS_STEPS = 1000
# Nodes hold the model, and ComfyUI holds the nodes: "Unload models and execution cache" frees it
_models: weakref.WeakValueDictionary[str, FoleyFlow] = weakref.WeakValueDictionary()


def shared_model() -> FoleyFlow:
    """The model on the device of ComfyUI, loaded once for all nodes that hold it."""
    device = str(comfy.model_management.get_torch_device())
    device = device if device.startswith("cuda") else "cpu"
    model = _models.get(device)
    if model is None:
        # ComfyUI runs nodes in inference mode, in which tensors can't leave the thread's mode
        with torch.inference_mode(False):
            model = FoleyFlow.from_pretrained(device=device)
        _models[device] = model
    return model


def progress_parts(duration_s: float, count: int) -> list[Callable[[float], None]]:
    """Functions of the seconds done, for consecutive parts of one progress bar.

    Each stops the node if the user has interrupted ComfyUI.
    """
    bar = comfy.utils.ProgressBar(_PROGRESS_STEPS)

    def part(index: int) -> Callable[[float], None]:
        def show(done_s: float) -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            fraction = (index + min(done_s / duration_s, 1.0)) / count
            bar.update_absolute(round(fraction * _PROGRESS_STEPS), _PROGRESS_STEPS)

        return show

    return [part(index) for index in range(count)]


@contextlib.contextmanager
def shown_errors() -> Iterator[None]:
    """Adds the hint of an error to its message, which is all that ComfyUI shows."""
    try:
        yield
    except FoleyflowError as error:
        hint = f"\nHint: {error.hint}" if error.hint else ""
        raise RuntimeError(f"{error}{hint}") from error


def log_warnings(node: str, warnings: Iterable[str]) -> None:
    """Writes the warnings of a result to the console of ComfyUI."""
    for text in warnings:
        logger.warning("%s: %s", node, text)
