"""The timbre of a recording in the studio: uploads, sound, edits, takes, exports, a restart."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.studio_server import StudioServer, answer, error_of

from foleyflow import Cue, CueSheet, FoleyFlow
from foleyflow.inference.reference_sound import read_reference
from foleyflow.studio.first_hit import write_first_hit

RATE_HZ = 48_000
CUES = [{"time_s": 0.5, "material": "glass"}, {"time_s": 1.5, "material": "wood"}]


@pytest.fixture(scope="module")
def knock(tmp_path_factory) -> Path:
    """A dull knock after silence, and another one later."""
    times_s = np.arange(RATE_HZ) / RATE_HZ
    hit = 0.3 * np.exp(-times_s / 0.02) * np.sin(2 * np.pi * 220 * times_s)
    path = tmp_path_factory.mktemp("sounds") / "knock.flac"
    soundfile.write(path, np.concatenate([np.zeros(9000), hit, hit]), RATE_HZ, subtype="PCM_24")
    return path


@pytest.fixture
def project(server, short_clip) -> str:
    made = server.upload(short_clip)
    server.client.put(f"/projects/{made}/cues", json={"cues": CUES}).raise_for_status()
    return made


def send(server: StudioServer, project: str, name: str, content: bytes):
    return server.client.post(
        f"/projects/{project}/references", params={"name": name}, content=content
    )


def test_the_first_hit_of_a_recording_is_all_that_it_gives(tmp_path, knock):
    model = FoleyFlow.from_pretrained(device="cpu")
    write_first_hit(knock, tmp_path / "hit.wav", suffix=".flac")
    expected, cut = (
        read_reference(path, model.codec, model.flow) for path in (knock, tmp_path / "hit.wav")
    )
    # The attack differs by less than a sample, and the level by rounding
    assert float((expected.latents - cut.latents).abs().max()) < 0.05
    assert np.array_equal(expected.tracks, cut.tracks)


def test_a_project_follows_a_recording_until_it_is_removed(server, project, knock):
    before = server.samples(project)
    added = answer(send(server, project, "../my knock.flac", knock.read_bytes()), 201)
    assert added["name"] == "my knock.flac"
    assert server.get(f"/projects/{project}")["references"] == [added]
    edit = server.render(project, reference=added["id"])
    assert edit["undo"] == "Generate again"
    after = server.samples(project)
    assert not np.array_equal(before, after)
    # The sound is that of the model for this recording; cues keep their materials
    model = FoleyFlow.from_pretrained(device="cpu")
    folder = server.folder / project
    result = model.generate(
        folder / "video.mp4",
        cues=CueSheet(cues=(Cue(time_s=0.5), Cue(time_s=1.5)), duration_s=2.4),
        reference=folder / "references" / f"{added['id']}.wav",
    )
    assert np.allclose(after, result.waveform, atol=1e-5)
    assert [cue["material"] for cue in server.cues(project)] == ["glass", "wood"]
    # An edit changes its stretch only, and a material nothing
    name = server.cues(project)[0]["id"]
    edit = server.edit(project, {"id": name, "set": {"time_s": 0.6}})
    assert edit["changed"] and edit["changed"][-1]["end_sample"] < 1.45 * RATE_HZ + RATE_HZ
    moved = server.samples(project)
    assert np.array_equal(moved[-4800:], after[-4800:])
    edit = server.edit(project, {"id": name, "set": {"material": "metal"}})
    assert edit["changed"] == []
    # What was recorded, and then no recording
    server.render(project, reference_material="wood")
    assert server.get(f"/projects/{project}")["settings"]["reference_material"] == "wood"
    server.render(project, reference=None, reference_material=None)
    assert server.get(f"/projects/{project}")["settings"]["reference"] is None
    for _ in range(3):
        server.post(f"/projects/{project}/undo")
    assert server.get(f"/projects/{project}")["settings"]["reference"] == added["id"]
    assert np.array_equal(server.samples(project), moved)
    server.post(f"/projects/{project}/undo")
    server.post(f"/projects/{project}/undo")
    assert np.array_equal(server.samples(project), before)


def test_takes_and_exports_follow_the_recording(server, project, knock):
    added = answer(send(server, project, "knock.flac", knock.read_bytes()), 201)
    server.render(project, reference=added["id"])
    [take] = server.job(f"/projects/{project}/takes", {"count": 1})["result"]["takes"]
    server.post(f"/projects/{project}/takes/{take['id']}/use")
    settings = server.get(f"/projects/{project}")["settings"]
    assert settings["reference"] == added["id"] and settings["seed"] == take["seed"]
    wanted = {"video": False, "sound": "wav24", "sidecar": True, "cues": [".json"]}
    export = server.job(f"/projects/{project}/exports", wanted)["result"]
    content = {
        Path(each["name"]).suffixes[-2]: server.client.get(each["url"].removeprefix("/api/v1"))
        for each in export["files"]
    }
    samples = soundfile.read(io.BytesIO(content[".foley"].content), dtype="float32")[0]
    assert np.abs(samples - server.samples(project)).max() < 2**-22
    assert content[".wav"].json()["reference"].endswith(f"{added['id']}.wav")
    assert [cue["material"] for cue in content[".cues"].json()["cues"]] == ["glass", "wood"]


def test_what_is_no_recorded_hit_is_refused_and_leaves_nothing(server, project, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE_HZ), RATE_HZ)
    silence = send(server, project, "silence.wav", (tmp_path / "silence.wav").read_bytes())
    assert "is silent" in error_of(silence, 422)["error"]
    noise = np.random.default_rng(1).bytes(5000)
    for content in (noise, b"", (tmp_path / "silence.wav").read_bytes()[:30]):
        error_of(send(server, project, "knock.wav", content), 422)
    error_of(send(server, project, "knock.wav", bytes(20 * 2**20)), 413)
    assert server.get(f"/projects/{project}")["references"] == []
    assert not list((server.folder / project / "references").iterdir())
    assert not list(server.folder.glob(".*.part"))
    path = f"/projects/{project}/render"
    error_of(server.client.post(path, json={"reference": "r99"}), 404)
    error_of(server.client.post(path, json={"reference": "../../etc/passwd"}), 404)
    error_of(server.client.post(path, json={"reference_material": "cheese"}), 400)


def test_a_killed_server_keeps_the_recording(tmp_path, short_clip, knock):
    first = StudioServer(tmp_path / "projects")
    try:
        project = first.upload(short_clip)
        first.client.put(f"/projects/{project}/cues", json={"cues": CUES}).raise_for_status()
        added = answer(send(first, project, "knock.flac", knock.read_bytes()), 201)
        first.render(project, reference=added["id"], stereo=True)
        name = first.cues(project)[0]["id"]
        first.edit(project, {"id": name, "set": {"time_s": 0.6, "material": "metal"}})
        both = first.samples(project)
    finally:
        first.kill()
    (tmp_path / "projects" / project / "references" / "r77.wav").write_bytes(b"left")
    second = StudioServer(tmp_path / "projects")
    try:
        second.edit(project, {"id": name, "set": {"level_db": -20.0}})
        second.post(f"/projects/{project}/undo")
        assert np.array_equal(second.samples(project), both)
        assert second.get(f"/projects/{project}")["references"] == [added]
        assert not (tmp_path / "projects" / project / "references" / "r77.wav").exists()
    finally:
        second.stop()
    assert "Traceback" not in second.errors, second.errors
