"""The record next to a result, from which the result can be made again.

It is the JSON of `foleyflow generate --json`, with the hashes of the weights and of the sound.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foleyflow import __version__
from foleyflow.cues.fields import cue_from_fields, fields_of
from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import CheckpointError, ConfigError, MediaError
from foleyflow.inference.result import Edit, Generated, cues_after
from foleyflow.media.formats import SIDECAR_SUFFIX
from foleyflow.pretrained import model_folder
from foleyflow.system.printable import json_text
from foleyflow.weights import read_record, write_atomically

COMPONENTS = ("codec", "align", "flow")
# Key -> types of its value
_TYPES: dict[str, tuple[type, ...]] = {
    "model": (str,),
    "seed": (int,),
    "steps": (int,),
    "guidance": (int, float),
    "material": (str,),
    "loudness_lufs": (int, float, type(None)),
    "threads": (int,),
    "duration_s": (int, float),
    "audio_only": (bool,),
    "weights_sha256": (dict,),
    "cues": (list,),
}
_WRITE_HINT = "results have one if they are generated with --sidecar; generate it again with it"


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """The record of a result.

    Attributes:
        result: the result that it describes.
        record: its content.
        cues: of the result.
        edits: of the result since it was generated, in their order.
    """

    result: Path
    record: dict[str, Any]
    cues: CueSheet
    edits: tuple[Edit, ...]

    @property
    def first_stereo(self) -> bool:
        """Whether the sound before the first edit was stereo."""
        changes = [edit.stereo for edit in self.edits if edit.stereo is not None]
        return not changes[0] if changes else bool(self.record.get("stereo", False))

    @property
    def first_cues(self) -> CueSheet:
        """The cues before the first edit."""
        return self.edits[0].cues_before if self.edits else self.cues

    def check_weights(self, model: str) -> None:
        """Checks that a model has the weights of the result.

        Raises:
            CheckpointError: it has other weights, or can't be read.
        """
        for name, found in weights_sha256(model).items():
            expected = self.record["weights_sha256"].get(name)
            if found != expected:
                raise CheckpointError(
                    f"{self.result}: was generated with other weights ({name} "
                    f"{str(expected)[:12]}) than those of the model {model!r} ({found[:12]})",
                    hint="give the folder of that model with --model, or generate the video again",
                )


def sidecar_path(output: Path) -> Path:
    """The sidecar of an output."""
    return output.with_name(output.name + SIDECAR_SUFFIX)


def weights_sha256(model: str) -> dict[str, str]:
    """Component of a model -> hash of its weights."""
    folder = model_folder(model)
    return {name: read_record(folder, name).sha256 for name in COMPONENTS}


def sound_sha256(result: Generated) -> str:
    """Hash of the samples of the generated sound, as float32; channels alternate."""
    digest = hashlib.sha256()
    for block in result.blocks():
        digest.update(block.T.astype("<f4").tobytes())
    return digest.hexdigest()


def write_sidecar(
    described: dict[str, Any], result: Generated, output: Path, *, model: str, audio_only: bool
) -> Path:
    """Writes the sidecar of an output, and returns its path.

    Args:
        described: the description of the result for --json.
        result: the result.
        output: its file.
        model: as it was given.
        audio_only: whether the output is a sound file.
    """
    content = {
        "foleyflow": __version__,
        "weights_sha256": weights_sha256(model),
        "sound_sha256": sound_sha256(result),
        "audio_only": audio_only,
        **described,
    }
    path = sidecar_path(output)
    write_atomically(path, json_text(content) + "\n")
    return path


def edits_to_json(result: Generated) -> list[dict[str, Any]]:
    """The edits of a result; cues before an edit are None if the edit did not change them.

    Only edits that change the channels have the key "stereo".
    """
    after = cues_after(result.edits, result.cues)
    return [
        {
            "start_s": edit.start_s,
            "end_s": edit.end_s,
            "seed": edit.seed,
            **({} if edit.stereo is None else {"stereo": edit.stereo}),
            "cues_before": None
            if edit.cues_before == cues
            else [fields_of(cue) for cue in edit.cues_before],
        }
        for edit, cues in zip(result.edits, after, strict=True)
    ]


def read_sidecar(path: Path) -> Sidecar:
    """The sidecar of a result.

    Args:
        path: the result, which need not exist any more, or its sidecar.

    Raises:
        MediaError: there is no sidecar, or it can't be read.
        ConfigError: it is damaged, or no sidecar.
    """
    result = path
    if path.suffix.lower() == SIDECAR_SUFFIX:
        result, file = path.with_suffix(""), path
    else:
        file = sidecar_path(path)
    try:
        record = json.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise MediaError(f"{result}: has no sidecar {file.name}", hint=_WRITE_HINT) from error
    except OSError as error:
        raise MediaError(f"{file}: can't be read ({error.strerror})", hint=_WRITE_HINT) from error
    except ValueError as error:
        raise ConfigError(f"{file}: damaged JSON ({error})", hint=_WRITE_HINT) from error
    # The values
    is_object = isinstance(record, dict)
    for key, types in _TYPES.items():
        value = record.get(key) if is_object else None
        is_flag = isinstance(value, bool) and bool not in types
        if not is_object or key not in record or not isinstance(value, types) or is_flag:
            raise ConfigError(
                f"{file}: is no sidecar of a result: {key} is missing or not valid",
                hint=_WRITE_HINT,
            )
    try:
        cues = _sheet(record["cues"], record["duration_s"])
        edits: list[Edit] = []
        before = cues
        for entry in reversed(record.get("edits") or []):
            if entry["cues_before"] is not None:
                before = _sheet(entry["cues_before"], record["duration_s"])
            edit = Edit(
                cues_before=before,
                start_s=entry["start_s"],
                end_s=entry["end_s"],
                seed=entry["seed"],
                stereo=entry.get("stereo"),
            )
            edits.insert(0, edit)
    except (ConfigError, KeyError, TypeError) as error:
        raise ConfigError(f"{file}: its cues are not valid ({error})", hint=_WRITE_HINT) from error
    return Sidecar(result=result, record=record, cues=cues, edits=tuple(edits))


def _sheet(fields: list[dict[str, Any]], duration_s: float) -> CueSheet:
    cues = tuple(cue_from_fields(each, None) for each in fields)
    last_s = max([duration_s, *(cue.end_s or cue.time_s for cue in cues)])  # rounded to samples
    return CueSheet(cues=cues, duration_s=last_s)
