"""A minimal executor of ComfyUI's workflows, written from its documented contract.

ComfyUI itself is on no package index. This follows https://docs.comfy.org/custom-nodes: how node
packs are loaded, inputs validated, nodes executed in inference mode and their outputs cached. The
nodes of ComfyUI that the shipped workflows use have stand-ins with the same inputs and outputs.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

Prompt = dict[str, dict[str, Any]]
WIDGET_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN")
CONVERTERS = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}
UPLOADS = ("image_upload", "video_upload", "audio_upload")


class InterruptProcessingException(Exception):
    """The user has pressed the button."""


class InvalidPromptError(Exception):
    """A prompt that ComfyUI refuses before it executes any node."""


class ComfyHost:
    """The modules that ComfyUI offers to nodes, its registry of nodes, and its executor.

    Attributes:
        progress: (value, total) of all updates of progress bars.
        interrupt_at: number of updates after which the user interrupts; None for never.
        saved: what the output nodes have received, by the id of the node.
        executed: ids of the nodes that the last run has executed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.progress: list[tuple[int, int]] = []
        self.interrupt_at: int | None = None
        self.saved: dict[str, Any] = {}
        self.shown: dict[str, Any] = {}
        self.executed: list[str] = []
        self.classes: dict[str, type] = core_nodes(self)
        self.reset()

    def reset(self) -> None:
        """What "Unload models and execution cache" does: nodes and outputs are dropped."""
        self._objects: dict[tuple[str, str], Any] = {}
        self._outputs: dict[str, tuple[Any, tuple[Any, ...]]] = {}

    def modules(self) -> dict[str, types.ModuleType]:
        """The modules by name, for `sys.modules`."""
        names = ("comfy", "comfy.utils", "comfy.model_management", "folder_paths")
        found = {name: types.ModuleType(name) for name in names}
        host = self

        class ProgressBar:
            def __init__(self, total: int, node_id: str | None = None) -> None:
                self.total = total

            def update_absolute(self, value: int, total: int | None = None, preview=None) -> None:
                host.progress.append((value, total or self.total))

        def throw_exception_if_processing_interrupted() -> None:
            if host.interrupt_at is not None and len(host.progress) >= host.interrupt_at:
                host.interrupt_at = None
                raise InterruptProcessingException

        found["comfy"].__path__ = []
        found["comfy"].utils = found["comfy.utils"]
        found["comfy"].model_management = management = found["comfy.model_management"]
        found["comfy.utils"].ProgressBar = ProgressBar
        management.throw_exception_if_processing_interrupted = (
            throw_exception_if_processing_interrupted
        )
        management.InterruptProcessingException = InterruptProcessingException
        management.get_torch_device = lambda: torch.device("cpu")
        management.soft_empty_cache = lambda force=False: None
        paths = found["folder_paths"]
        paths.get_input_directory = lambda: str(host.folder)
        paths.get_annotated_filepath = lambda name: str(host.folder / name)
        paths.exists_annotated_filepath = lambda name: (host.folder / name).is_file()
        paths.filter_files_content_types = lambda files, kinds: [
            name for name in files if name.endswith((".mp4", ".mov", ".mkv", ".webm"))
        ]
        return found

    def load_pack(self, folder: Path) -> types.ModuleType:
        """Imports a folder of custom nodes by its path."""
        name = str(folder).replace(".", "_x_")
        spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        self.classes |= module.NODE_CLASS_MAPPINGS
        return module

    def prompt_of(self, workflow: dict[str, Any]) -> Prompt:
        """A saved workflow as the prompt that the page of ComfyUI sends."""
        sources = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
        prompt: Prompt = {}
        for node in workflow["nodes"]:
            linked = {each["name"]: each["link"] for each in node["inputs"]}
            values, inputs = list(node["widgets_values"]), {}
            for name, (kind, options) in self.inputs_of(self.classes[node["type"]]).items():
                is_widget = isinstance(kind, list) or kind in WIDGET_TYPES
                if is_widget and not options.get("forceInput"):
                    inputs[name] = values.pop(0)
                    if name in ("seed", "noise_seed"):
                        values.pop(0)  # control after generate
                    if any(options.get(upload) for upload in UPLOADS):
                        values.pop(0)  # the button
                if linked.get(name) is not None:
                    inputs[name] = sources[linked[name]]
            assert not values, (node["type"], values)
            prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
        return prompt

    @staticmethod
    def inputs_of(kind: type, groups: tuple[str, ...] = ("required", "optional")) -> dict[str, Any]:
        """Name of an input -> (type, options)."""
        declared = kind.INPUT_TYPES()
        return {
            name: (info[0], info[1] if len(info) > 1 else {})
            for group in groups
            for name, info in declared.get(group, {}).items()
        }

    def validate(self, prompt: Prompt) -> None:
        """Checks and converts all inputs.

        Raises:
            InvalidPromptError: an input is missing, of another type or out of range.
        """
        for identity, node in prompt.items():
            kind, inputs = self.classes[node["class_type"]], node["inputs"]
            where = f"{node['class_type']} {identity}"
            for name in self.inputs_of(kind, ("required",)):
                if name not in inputs:
                    raise InvalidPromptError(f"{where}: Required input is missing: {name}")
            for name, (expected, options) in self.inputs_of(kind).items():
                if name not in inputs:
                    continue
                value = inputs[name]
                if isinstance(value, list):
                    source = self.classes[prompt[value[0]]["class_type"]]
                    given = source.RETURN_TYPES[value[1]]
                    if expected not in ("*", given):
                        raise InvalidPromptError(f"{where}: {name}, {given} != {expected}")
                    continue
                if isinstance(expected, list):
                    has_check = hasattr(kind, "VALIDATE_INPUTS")
                    if value not in expected and not has_check:
                        raise InvalidPromptError(f"{where}: {name}: {value!r} not in {expected}")
                    continue
                value = inputs[name] = CONVERTERS[expected](value)
                if not options.get("min", value) <= value <= options.get("max", value):
                    raise InvalidPromptError(f"{where}: {name}={value} is out of range")
            if hasattr(kind, "VALIDATE_INPUTS"):
                names = kind.VALIDATE_INPUTS.__code__.co_varnames[1:]
                answer = kind.VALIDATE_INPUTS(**{n: inputs[n] for n in names if n in inputs})
                if answer is not True:
                    raise InvalidPromptError(f"{where}: {answer}")

    def run(self, prompt: Prompt) -> None:
        """Executes the nodes that an output node needs and whose inputs have changed."""
        self.validate(prompt)
        self.executed = []
        for key in [key for key in self._objects if key[0] not in prompt]:
            del self._objects[key]
        with torch.inference_mode():
            for identity, node in prompt.items():
                if getattr(self.classes[node["class_type"]], "OUTPUT_NODE", False):
                    self._outputs_of(identity, prompt)

    def _outputs_of(self, identity: str, prompt: Prompt) -> tuple[Any, ...]:
        node = prompt[identity]
        kind, inputs = self.classes[node["class_type"]], node["inputs"]
        values = {
            name: self._outputs_of(value[0], prompt)[value[1]] if isinstance(value, list) else value
            for name, value in inputs.items()
        }
        signature = self._signature(identity, prompt)
        found = self._outputs.get(identity)
        if found is not None and found[0] == signature:
            return found[1]
        instance = self._objects.setdefault((identity, node["class_type"]), kind())
        self.executed.append(identity)
        returned = getattr(instance, kind.FUNCTION)(**values)
        if isinstance(returned, dict):
            self.shown[identity] = returned.get("ui")
            returned = returned.get("result", ())
        assert isinstance(returned, tuple) and len(returned) == len(kind.RETURN_TYPES)
        if getattr(kind, "OUTPUT_NODE", False):
            self.saved[identity] = values
        self._outputs[identity] = (signature, returned)
        return returned

    def _signature(self, identity: str, prompt: Prompt) -> Any:
        """The inputs of a node and of all nodes before it, without the values between them."""
        node = prompt[identity]
        kind, inputs = self.classes[node["class_type"]], node["inputs"]
        constants = {name: v for name, v in inputs.items() if not isinstance(v, list)}
        changed = kind.IS_CHANGED(**constants) if hasattr(kind, "IS_CHANGED") else None
        return (
            node["class_type"],
            changed,
            tuple(
                (name, (value[1], self._signature(value[0], prompt)))
                if isinstance(value, list)
                else (name, value)
                for name, value in sorted(inputs.items())
            ),
        )


def core_nodes(host: ComfyHost) -> dict[str, type]:
    """Stand-ins for nodes of ComfyUI."""

    def node(
        name: str, inputs: dict[str, Any], returns: tuple[str, ...], run, *, optional=(), **of
    ):
        declared = {
            "required": {key: value for key, value in inputs.items() if key not in optional},
            "optional": {key: inputs[key] for key in optional},
        }
        methods = {
            "INPUT_TYPES": classmethod(lambda cls: declared),
            "RETURN_TYPES": returns,
            "FUNCTION": "run",
            "run": lambda self, **values: run(**values),
            **of,
        }
        return {name: type(name, (), methods)}

    def components(video: str) -> tuple[Any, ...]:
        with av.open(str(host.folder / video)) as source:
            rate = float(source.streams.video[0].average_rate)
            pictures = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
        return torch.from_numpy(np.stack(pictures)).float() / 255, None, rate

    changed = classmethod(lambda cls, file: (host.folder / file).stat().st_mtime_ns)
    valid = classmethod(lambda cls, file: (host.folder / file).is_file() or "Invalid video file")
    choice = ([], {"video_upload": True})
    text, auto = ("STRING", {}), (["auto", "mp4", "h264"], {})
    return {
        **node(
            "LoadVideo",
            {"file": choice},
            ("VIDEO",),
            lambda file: (file,),
            IS_CHANGED=changed,
            VALIDATE_INPUTS=valid,
        ),
        **node(
            "GetVideoComponents", {"video": ("VIDEO",)}, ("IMAGE", "AUDIO", "FLOAT"), components
        ),
        **node(
            "CreateVideo",
            {
                "images": ("IMAGE",),
                "fps": ("FLOAT", {"min": 1.0, "max": 120.0}),
                "audio": ("AUDIO",),
            },
            ("VIDEO",),
            lambda **values: (values,),
            optional=("audio",),
        ),
        **node(
            "SaveVideo",
            {"video": ("VIDEO",), "filename_prefix": text, "format": auto, "codec": auto},
            (),
            lambda **values: (),
            OUTPUT_NODE=True,
        ),
        **node(
            "SaveAudio",
            {"audio": ("AUDIO",), "filename_prefix": text},
            (),
            lambda **values: (),
            OUTPUT_NODE=True,
        ),
        **node("PreviewAny", {"source": ("*",)}, (), lambda source: (), OUTPUT_NODE=True),
    }
