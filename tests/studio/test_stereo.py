"""Stereo sound in the studio: two channels everywhere, pans, undo, takes, exports, a restart."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from support.cli_model import run_cli
from support.studio_server import StudioServer, error_of

RATE_HZ = 48_000
CUES = [
    {"time_s": 0.5, "material": "wood", "pan": -1.0},
    {"time_s": 1.2, "material": "glass", "pan": 1.0},
    {"time_s": 1.9, "material": "wood", "pan": -0.5},
]


def balance_db(samples: np.ndarray, time_s: float) -> float:
    """Level of the right channel above the left one, at a cue."""
    part = samples[:, round(time_s * RATE_HZ) : round((time_s + 0.05) * RATE_HZ)]
    left, right = np.square(part.astype(np.float64)).sum(axis=1)
    return float(10 * np.log10(right / left))


@pytest.fixture
def project(server, short_clip) -> str:
    made = server.upload(short_clip)
    server.client.put(f"/projects/{made}/cues", json={"cues": CUES}).raise_for_status()
    return made


def test_stereo_is_switched_on_and_off_without_another_sound(server, project):
    mono = server.samples(project)
    edit = server.render(project, stereo=True)
    assert edit["undo"] == "Stereo sound" and edit["cues"] == []
    assert edit["changed"] == [{"start_sample": 0, "end_sample": len(mono)}]
    described = server.get(f"/projects/{project}")
    assert described["sound"]["channels"] == 2 and described["settings"]["stereo"]
    both = server.samples(project)
    assert both.shape == (2, len(mono))
    for cue, expected_db in zip(CUES, (-6.3, 6.3, -3.0), strict=True):
        assert balance_db(both, cue["time_s"]) == pytest.approx(expected_db, abs=0.1)
    alone = slice(round(0.5 * RATE_HZ), round(0.6 * RATE_HZ))
    np.testing.assert_allclose(np.hypot(*both)[alone], np.abs(mono)[alone], atol=1e-5)
    # Off, on again and back by undo
    assert server.render(project, stereo=False)["undo"] == "Mono sound"
    assert np.array_equal(server.samples(project), mono)
    revision = server.get(f"/projects/{project}")["revision"]
    assert server.render(project, stereo=False)["revision"] == revision  # no change
    server.post(f"/projects/{project}/undo")
    assert np.array_equal(server.samples(project), both)
    server.post(f"/projects/{project}/undo")
    described = server.get(f"/projects/{project}")
    assert not described["settings"]["stereo"] and described["sound"]["channels"] == 1
    assert np.array_equal(server.samples(project), mono)


def test_a_pan_is_edited_and_given_back_to_the_picture(server, project):
    server.render(project, stereo=True)
    before = server.samples(project)
    name = server.cues(project)[2]["id"]
    edit = server.edit(project, {"id": name, "set": {"pan": 1.0}}, label="Pan a cue")
    after = server.samples(project)
    changed = np.zeros(before.shape[1], bool)
    for each in edit["changed"]:
        changed[each["start_sample"] : each["end_sample"]] = True
    assert np.array_equal(before[:, ~changed], after[:, ~changed])
    assert changed.sum() < 0.4 * RATE_HZ  # only its own sound
    assert balance_db(after, 1.9) == pytest.approx(6.3, abs=0.1)
    mono = np.sqrt(2) * before.mean(axis=0)
    assert np.allclose(mono[~changed], np.sqrt(2) * after.mean(axis=0)[~changed])
    # From the picture; at some times nothing moves
    first = server.cues(project)[0]["id"]
    assert server.get(f"/projects/{project}/cues/{first}/place") == {"pan": None}
    place = server.get(f"/projects/{project}/cues/{name}/place")["pan"]
    assert -0.1 < place < 0
    edit = server.edit(project, {"id": name, "set": {"pan": None}})
    assert "pan" not in edit["cues"][0]
    automatic = server.samples(project)
    server.edit(project, {"id": name, "set": {"pan": place}})
    assert np.allclose(server.samples(project), automatic, atol=1e-6)
    for _ in range(3):
        server.post(f"/projects/{project}/undo")
    assert np.array_equal(server.samples(project), before)
    error_of(server.client.get(f"/projects/{project}/cues/c99/place"), 404)


def test_all_forms_of_the_sound_have_two_channels(server, project):
    server.render(project, stereo=True)
    both, path = server.samples(project), f"/projects/{project}"
    wave = server.client.get(f"{path}/sound", params={"format": "wav"}).content
    assert np.array_equal(soundfile.read(io.BytesIO(wave), dtype="float32")[0].T, both)
    integers = server.client.get(f"{path}/sound", params={"format": "i16"})
    values = np.frombuffer(integers.content, "<i2").reshape(-1, 2).T / 32767
    assert np.abs(values - both).max() < 1e-4
    response = server.client.get(
        f"{path}/peaks", params={"start_s": 0, "end_s": 2.4, "columns": 100}
    )
    assert response.headers["x-channels"] == "2"
    peaks = np.frombuffer(response.content, "<i2").reshape(2, 100, 2)
    assert np.array_equal(peaks[:, :, 1].max(axis=1), np.ceil(both.max(axis=1) * 32767))
    mono = server.get(f"{path}/loudness")
    server.render(project, stereo=False)
    assert server.get(f"{path}/loudness")["integrated_lufs"] == pytest.approx(
        mono["integrated_lufs"], abs=0.1
    )


def test_takes_keep_their_channels(server, project):
    mono = server.samples(project)
    kept = server.job(f"/projects/{project}/takes", {"name": "Mono"})["result"]
    server.render(project, stereo=True)
    both = server.samples(project)
    [new] = server.job(f"/projects/{project}/takes", {"count": 1})["result"]["takes"]
    assert (kept["channels"], new["channels"]) == (1, 2)
    stored = server.samples(project, source=f"take:{new['id']}")
    assert stored.shape == both.shape
    server.post(f"/projects/{project}/takes/{new['id']}/use")
    assert np.abs(server.samples(project) - stored).max() < 2**-22
    assert balance_db(stored, 0.5) < -6
    # A mono take makes the sound mono
    server.post(f"/projects/{project}/takes/{kept['id']}/use")
    assert np.array_equal(server.samples(project), mono)
    assert not server.get(f"/projects/{project}")["settings"]["stereo"]


def test_exports_are_stereo_and_can_be_made_again(server, project, tmp_path):
    server.render(project, stereo=True)
    server.edit(project, {"add": {"time_s": 2.2, "material": "metal", "pan": -1.0}})
    wanted = {"video": False, "sound": "wav24", "sidecar": True, "stems": "material"}
    job = server.job(f"/projects/{project}/exports", wanted)
    assert job["state"] == "done", job["error"]
    files = {each["name"]: each["url"] for each in job["result"]["files"]}
    both = server.samples(project)
    for name, url in files.items():
        if name.endswith(".wav"):
            content = server.client.get(url.removeprefix("/api/v1")).content
            samples = soundfile.read(io.BytesIO(content))[0].T
            assert samples.shape[0] == 2, name
            if "stems" not in name:
                assert np.abs(samples - both).max() < 2**-22
    [sidecar] = [name for name in files if name.endswith(".wav.json")]
    record = server.client.get(files[sidecar].removeprefix("/api/v1")).json()
    assert record["stereo"] is True
    assert [each.get("stereo") for each in record["edits"]].count(True) == 1
    # The command line makes the same file from it
    exported = server.folder / project / "exports" / job["result"]["id"] / sidecar
    video, again = server.folder / project / "video.mp4", tmp_path / "again.wav"
    outcome = run_cli("generate", video, "--of", exported, "-o", again)
    assert outcome.status == 0, outcome.stderr
    assert again.read_bytes() == exported.with_suffix("").read_bytes()


def test_a_restart_returns_to_the_same_stereo_sound(tmp_path, short_clip):
    first = StudioServer(tmp_path / "projects")
    try:
        project = first.upload(short_clip)
        first.client.put(f"/projects/{project}/cues", json={"cues": CUES}).raise_for_status()
        first.render(project, stereo=True)
        name = first.cues(project)[0]["id"]
        first.edit(project, {"id": name, "set": {"pan": 0.5}})
        both = first.samples(project)
    finally:
        first.kill()
    second = StudioServer(tmp_path / "projects")
    try:
        assert np.array_equal(second.samples(project), both)
        second.edit(project, {"id": name, "set": {"pan": -1.0}})
        second.post(f"/projects/{project}/undo")
        assert np.array_equal(second.samples(project), both)
        assert second.get(f"/projects/{project}")["sound"]["channels"] == 2
    finally:
        second.stop()
    assert "Traceback" not in second.errors, second.errors
