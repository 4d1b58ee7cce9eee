"""The nodes Foley Spot, Foley Cues Edit, Foley Generate and Foley From File.

They convert between the types of ComfyUI and the Python API of foleyflow, which does all work.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import comfy.model_management
import folder_paths
import numpy as np
import torch

from foleyflow import CueSheet, FoleyFlow, FoleyflowError, Generated
from foleyflow.cues.files import read_cues, write_cues
from foleyflow.media import probe
from foleyflow.pretrained import model_folder
from foleyflow.weights import read_record

from .host import log_warnings, progress_parts, shared_model, shown_errors

CATEGORY = "audio/foleyflow"
AUTO = "auto"  # the materials of the cues
LARGEST_SEED = 2**53 - 1  # numbers of JavaScript are exact up to here

# Connected, never typed: with a wrong rate the sound would have another length than the video
FRAME_RATE = (
    "FLOAT",
    {
        "forceInput": True,
        "tooltip": "Frames per second of the images: `fps` of Get Video Components, or of the node "
        "that made them. The sound lasts number of images / frame rate.",
    },
)
IMAGES = ("IMAGE", {"tooltip": "All frames of the video, at least two. Alpha is left out."})
KEEP_MODEL = (
    "BOOLEAN",
    {
        "default": True,
        "tooltip": "Off: free the model after this node, unless another node keeps it.",
    },
)


def known_materials() -> tuple[str, ...]:
    """The names of the materials of the model, which need not be loaded for it."""
    return tuple(read_record(model_folder(None), "flow").config["cue_materials"])


def generation_inputs() -> dict[str, Any]:
    """Inputs of the nodes that generate sound."""
    return {
        "material": (
            [AUTO, *known_materials()],
            {"tooltip": "Of all struck objects; auto keeps the materials of the cues."},
        ),
        "seed": ("INT", {"default": 0, "min": 0, "max": LARGEST_SEED}),
        "steps": (
            "INT",
            {"default": 1, "min": 1, "max": 64, "tooltip": "The model is made for one step."},
        ),
    }


class Pictures(Sequence[np.ndarray]):
    """The frames of an IMAGE batch, converted one at a time.

    An alpha channel is left out: the colours below it are used as they are. Values are clipped to
    0..1, as by the nodes of ComfyUI that save images.
    """

    def __init__(self, images: torch.Tensor) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index):
        return self._images[index][..., :3].float().clamp(0.0, 1.0).cpu().numpy()


class FoleyNode:
    """What the nodes with a model share."""

    CATEGORY = CATEGORY
    FUNCTION = "run"

    def __init__(self) -> None:
        self._model: FoleyFlow | None = None

    def _hold_model(self) -> FoleyFlow:
        self._model = self._model or shared_model()
        return self._model

    def _free_model(self, keep_model: bool) -> None:
        if not keep_model:
            self._model = None
            comfy.model_management.soft_empty_cache()


class FoleySpot(FoleyNode):
    """Finds what sounds in a video, and when."""

    DESCRIPTION = "Finds the cues of a video: what sounds, and when. Uncertain cues are disabled."
    RETURN_TYPES = ("CUES",)
    RETURN_NAMES = ("cues",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The inputs of the node."""
        sensitivity = {"default": 0.5, "min": 0.01, "max": 0.99, "step": 0.01}
        return {
            "required": {
                "images": IMAGES,
                "frame_rate": FRAME_RATE,
                "sensitivity": (
                    "FLOAT",
                    {**sensitivity, "tooltip": "Higher values enable more uncertain cues."},
                ),
            },
            "optional": {"keep_model": KEEP_MODEL},
        }

    def run(
        self,
        images: torch.Tensor,
        frame_rate: float,
        sensitivity: float,
        keep_model: bool = True,
    ) -> tuple[CueSheet]:
        """Returns the cues."""
        with shown_errors():
            (progress,) = progress_parts(len(images) / max(frame_rate, 1e-6), 1)
            cues = self._hold_model().spot(
                frames=Pictures(images),
                rate_hz=frame_rate,
                sensitivity=sensitivity,
                progress=progress,
            )
        self._free_model(keep_model)
        return (cues,)


class FoleyCuesEdit:
    """Shows cues as CSV, or replaces them by an edited text."""

    DESCRIPTION = (
        "Without a text, passes the cues on and shows them as CSV: connect `csv` to Preview Any, "
        "copy the lines, edit them here, and run again. A text replaces the cues."
    )
    CATEGORY = CATEGORY
    FUNCTION = "run"
    RETURN_TYPES = ("CUES", "STRING")
    RETURN_NAMES = ("cues", "csv")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The inputs of the node."""
        tooltip = "The first line names the columns, of which only time_s is required."
        return {
            "required": {
                "cues": ("CUES",),
                "csv": ("STRING", {"multiline": True, "default": "", "tooltip": tooltip}),
            }
        }

    def run(self, cues: CueSheet, csv: str) -> dict[str, Any]:
        """Returns the cues and their CSV; the CSV is also shown."""
        with shown_errors(), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cues.csv"
            if csv.strip():
                path.write_text(csv, "utf-8")
                try:
                    cues = read_cues(path, duration_s=cues.duration_s, materials=known_materials())
                except FoleyflowError as error:  # the text has no file
                    message = str(error).replace(folder + os.sep, "")
                    raise FoleyflowError(message, hint=error.hint) from error
            write_cues(path, cues)
            text = path.read_text("utf-8")
        return {"ui": {"text": (text,)}, "result": (cues, text)}


class FoleyGenerator(FoleyNode):
    """What the nodes that generate sound share."""

    RETURN_TYPES = ("AUDIO", "CUES")
    RETURN_NAMES = ("audio", "cues")

    def _generate(
        self,
        duration_s: float,
        material: str,
        seed: int,
        steps: int,
        cues: CueSheet | None,
        keep_model: bool,
        **video: Any,
    ) -> tuple[dict[str, Any], CueSheet]:
        """The sound and its cues, for a file or for frames."""
        analysed, generated = progress_parts(duration_s, 2)
        result: Generated = self._hold_model().generate(
            **video,
            cues=cues,
            material=None if material == AUTO else material,
            seed=seed,
            steps=steps,
            progress=analysed,
            on_generated=generated,
        )
        log_warnings(type(self).__name__, result.warnings)
        waveform = torch.from_numpy(result.as_waveform().samples)[None]
        audio = {"waveform": waveform, "sample_rate": result.sample_rate_hz}
        cues = result.cues
        del result  # it holds the model
        self._free_model(keep_model)
        return audio, cues


class FoleyGenerate(FoleyGenerator):
    """Generates the sound of images."""

    DESCRIPTION = (
        "Generates the sound of a video. Without cues, they are found in the video. The sound "
        "lasts number of images / frame rate, to the sample."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The inputs of the node."""
        return {
            "required": {"images": IMAGES, "frame_rate": FRAME_RATE, **generation_inputs()},
            "optional": {"cues": ("CUES",), "keep_model": KEEP_MODEL},
        }

    def run(
        self,
        images: torch.Tensor,
        frame_rate: float,
        material: str,
        seed: int,
        steps: int,
        cues: CueSheet | None = None,
        keep_model: bool = True,
    ) -> tuple[dict[str, Any], CueSheet]:
        """Returns the sound and its cues."""
        duration_s = len(images) / max(frame_rate, 1e-6)
        with shown_errors():
            return self._generate(
                duration_s,
                material,
                seed,
                steps,
                cues,
                keep_model,
                frames=Pictures(images),
                rate_hz=frame_rate,
            )


class FoleyFromFile(FoleyGenerator):
    """Generates the sound of a video file of the input folder."""

    DESCRIPTION = (
        "Generates the sound of a video file, by its own time stamps: also for a variable frame "
        "rate, and without all frames in memory."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The inputs of the node."""
        folder = folder_paths.get_input_directory()
        names = [name for name in os.listdir(folder) if os.path.isfile(os.path.join(folder, name))]
        videos = folder_paths.filter_files_content_types(names, ["video"])
        return {
            "required": {"video": (sorted(videos), {"video_upload": True}), **generation_inputs()},
            "optional": {"cues": ("CUES",), "keep_model": KEEP_MODEL},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, video: str) -> bool | str:
        """Whether the file exists."""
        return folder_paths.exists_annotated_filepath(video) or f"no such video: {video}"

    @classmethod
    def IS_CHANGED(cls, video: str, **_: Any) -> str:
        """Changes with the file."""
        status = os.stat(folder_paths.get_annotated_filepath(video))
        return f"{status.st_mtime_ns} {status.st_size}"

    def run(
        self,
        video: str,
        material: str,
        seed: int,
        steps: int,
        cues: CueSheet | None = None,
        keep_model: bool = True,
    ) -> tuple[dict[str, Any], CueSheet]:
        """Returns the sound and its cues."""
        with shown_errors():
            info = probe(folder_paths.get_annotated_filepath(video))
            return self._generate(
                info.duration_s, material, seed, steps, cues, keep_model, video=info
            )


NODE_CLASS_MAPPINGS = {
    "FoleySpot": FoleySpot,
    "FoleyCuesEdit": FoleyCuesEdit,
    "FoleyGenerate": FoleyGenerate,
    "FoleyFromFile": FoleyFromFile,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "FoleySpot": "Foley Spot",
    "FoleyCuesEdit": "Foley Cues Edit",
    "FoleyGenerate": "Foley Generate",
    "FoleyFromFile": "Foley From File",
}
