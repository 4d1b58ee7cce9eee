"""The bodies of requests; docs/http.md describes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from foleyflow.cues.cue import LARGEST_SEED

Name = Annotated[str, StringConstraints(min_length=1, max_length=80)]
Label = Annotated[str, StringConstraints(max_length=80)]
Seconds = Annotated[float, Field(allow_inf_nan=False, ge=0.0, le=1e6)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
CueSuffix = Annotated[str, StringConstraints(max_length=16)]


# Settings of which null is a value
_NULLABLE = ("loudness_lufs", "reference", "reference_material")


class Body(BaseModel):
    """Bodies in which unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NewProject(Body):
    """POST /projects: one of both."""

    example: Name | None = None
    video: Annotated[str, StringConstraints(min_length=1, max_length=1000)] | None = None


class ProjectChange(Body):
    """PATCH /projects/ID."""

    name: Name | None = None
    view: dict[str, Any] | None = None


class CueChanges(Body):
    """PATCH /projects/ID/cues."""

    changes: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=50_000)]
    label: Label = ""
    base_revision: int | None = None


class AllCues(Body):
    """PUT /projects/ID/cues."""

    cues: Annotated[list[dict[str, Any]], Field(max_length=50_000)]
    label: Label = ""
    base_revision: int | None = None


class Stretch(Body):
    """POST /projects/ID/regenerate."""

    start_s: Seconds
    end_s: Seconds
    seed: Seed | None = None


class NewTakes(Body):
    """POST /projects/ID/takes: a name to keep the present sound, or a count of new ones."""

    name: Name | None = None
    count: Annotated[int, Field(ge=1, le=16)] | None = None


class NewName(Body):
    """PATCH of a take."""

    name: Name


class RenderSettings(Body):
    """POST /projects/ID/render."""

    seed: Seed | None = None
    steps: Annotated[int, Field(ge=1, le=100)] | None = None
    guidance: Annotated[float, Field(allow_inf_nan=False, ge=1.0, le=20.0)] | None = None
    loudness_lufs: Annotated[float, Field(allow_inf_nan=False, ge=-70.0, le=0.0)] | None = None
    library: bool | None = None
    library_variation: bool | None = None
    stereo: bool | None = None
    reference: Name | None = None
    reference_material: Name | None = None

    def changes(self) -> dict[str, Any]:
        """The settings that were given; some may be null."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return {
            name: value for name, value in given.items() if value is not None or name in _NULLABLE
        }


class SpotSettings(Body):
    """POST /projects/ID/spot."""

    sensitivity: Annotated[float, Field(allow_inf_nan=False, gt=0.0, lt=1.0)]


class NewExport(Body):
    """POST /projects/ID/exports."""

    name: Name | None = None
    video: bool | Annotated[str, StringConstraints(max_length=8)] = True
    sound: Literal["wav24", "wav16", "flac", "bwf"] | None = None
    mix: Literal["replace", "mix", "duck"] = "replace"
    mix_level_lu: Annotated[float, Field(allow_inf_nan=False)] | None = 0.0
    duck_depth_db: Annotated[float, Field(allow_inf_nan=False)] = 9.0
    keep_original: bool = False
    stems: Literal["material", "cue"] | None = None
    cues: Annotated[list[CueSuffix], Field(max_length=16)] = []
    project: Literal["reaper"] | None = None
    report: bool = False
    sidecar: bool = False
