"""Editing over HTTP: which samples change, undo, takes, settings, import, sound and pictures."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image
from support.studio_server import answer, error_of

from foleyflow.media import read_waveform

RATE_HZ = 48_000


def inside(ranges: list[dict[str, int]], count: int) -> np.ndarray:
    mask = np.zeros(count, bool)
    for each in ranges:
        mask[each["start_sample"] : each["end_sample"]] = True
    return mask


def at(cues: list[dict], time_s: float) -> dict:
    return next(cue for cue in cues if abs(cue["time_s"] - time_s) < 1e-6)


def energy(samples: np.ndarray, start_s: float, end_s: float) -> float:
    part = samples[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]
    return float(np.square(part).sum())


def test_a_project_describes_itself(server, clip_project):
    project = server.get(f"/projects/{clip_project}")
    assert project["name"] == "A clip" and project["state"] == "ready"
    video = project["video"]
    assert video["name"] == "A clip.mp4" and video["playback"] == "original"
    assert (video["width"], video["height"], video["has_audio"]) == (96, 64, True)
    assert project["sound"]["sample_count"] == round(video["duration_s"] * RATE_HZ)
    assert project["analysed_until_s"] == video["duration_s"]
    assert clip_project in [each["id"] for each in server.get("/projects")["projects"]]
    status = server.get("/status")
    assert {"wood", "glass"} <= set(status["materials"]) and "drums" in status["examples"]


def test_an_edit_changes_the_reported_samples_and_no_other(server, clip_project):
    before = server.samples(clip_project)
    cue = at(server.cues(clip_project), 0.5)
    moved = server.edit(clip_project, {"id": cue["id"], "set": {"time_s": 0.8}}, label="Move")
    after = server.samples(clip_project)
    assert moved["cues"] == [{**cue, "time_s": 0.8}] and moved["removed"] == []
    assert moved["undo"] == "Move" and moved["sound_revision"] == moved["revision"]
    mask = inside(moved["changed"], len(before))
    assert mask.any() and not mask.all()
    assert np.array_equal(before[~mask], after[~mask])
    assert energy(after, 0.8, 0.9) > 10 * energy(after, 0.5, 0.6)
    # Only the changed samples are needed
    for part in moved["changed"]:
        before = before.copy()
        before[part["start_sample"] : part["end_sample"]] = server.samples(clip_project, **part)
    assert np.array_equal(before, after)
    undone = server.post(f"/projects/{clip_project}/undo")
    assert undone["cues"] == [cue] and undone["redo"] == "Move"


def test_undo_and_redo_return_to_the_same_samples(server, clip_project):
    sounds, cues = [server.samples(clip_project)], [server.cues(clip_project)]
    name = at(cues[0], 1.2)["id"]
    for change in (
        {"id": name, "set": {"material": "metal"}},
        {"remove": name},
        {"add": {"time_s": 2.1, "material": "plastic"}},
        {"add": {"time_s": 0.9, "kind": "scrape", "end_s": 1.6, "material": "stone"}},
    ):
        server.edit(clip_project, change)
        sounds.append(server.samples(clip_project))
        cues.append(server.cues(clip_project))
        assert not np.array_equal(sounds[-1], sounds[-2])
    for step in range(4, 0, -1):
        server.post(f"/projects/{clip_project}/undo")
        assert np.array_equal(server.samples(clip_project), sounds[step - 1])
        assert server.cues(clip_project) == cues[step - 1]
    for step in range(1, 5):
        server.post(f"/projects/{clip_project}/redo")
        assert np.array_equal(server.samples(clip_project), sounds[step])
    for _ in range(4):
        server.post(f"/projects/{clip_project}/undo")


def test_another_take_of_a_cue_and_of_a_stretch(server, clip_project):
    before = server.samples(clip_project)
    cue = at(server.cues(clip_project), 1.2)
    edited = server.edit(clip_project, {"id": cue["id"], "another_take": True})
    assert edited["cues"][0]["seed"] >= 0 and edited["changed"]
    server.post(f"/projects/{clip_project}/undo")
    stretch = server.post(
        f"/projects/{clip_project}/regenerate", {"start_s": 1.0, "end_s": 1.5, "seed": 9}
    )
    assert stretch["changed"] == [{"start_sample": 48_000, "end_sample": 72_000}]
    assert not np.array_equal(server.samples(clip_project), before)
    server.post(f"/projects/{clip_project}/undo")
    assert np.array_equal(server.samples(clip_project), before)


def test_a_refused_edit_changes_nothing(server, clip_project):
    revision = server.get(f"/projects/{clip_project}")["revision"]
    path = f"/projects/{clip_project}/cues"
    cue = server.cues(clip_project)[0]
    for body, status in (
        ({"changes": [{"remove": cue["id"]}, {"id": "c999", "set": {}}]}, 400),
        ({"changes": [{"add": {"time_s": 99.0}}]}, 400),
        ({"changes": [{"add": {"time_s": cue["time_s"]}}]}, 400),
        ({"changes": [{"add": {"time_s": 1.0, "material": "cheese"}}]}, 400),
        ({"changes": []}, 400),
        ({"changes": [{"remove": cue["id"]}], "base_revision": 1}, 409),
        ({"changes": [{"remove": cue["id"]}], "more": 1}, 400),
    ):
        error_of(server.client.patch(path, json=body), status)
    assert server.get(f"/projects/{clip_project}")["revision"] == revision
    assert server.client.patch(path, content=b"{", headers={"content-type": "application/json"})


def test_takes_are_generated_kept_used_and_deleted(server, clip_project):
    first = server.samples(clip_project)
    kept = server.job(f"/projects/{clip_project}/takes", {"name": "First"})["result"]
    assert kept["name"] == "First" and kept["is_current"] and kept["scores"] is None
    job = server.job(f"/projects/{clip_project}/takes", {"count": 2})
    assert job["state"] == "done", job
    takes = job["result"]["takes"]
    assert [take["scores"]["total"] for take in takes] == sorted(
        (take["scores"]["total"] for take in takes), reverse=True
    )
    used = server.post(f"/projects/{clip_project}/takes/{takes[0]['id']}/use")
    assert used["changed"]
    now = server.samples(clip_project)
    stored = server.samples(clip_project, source=f"take:{takes[0]['id']}")
    assert np.abs(now - stored).max() < 2**-22  # 24 bits
    shown = {t["id"]: t["is_current"] for t in server.get(f"/projects/{clip_project}")["takes"]}
    assert shown[takes[0]["id"]] and not shown[kept["id"]]
    server.post(f"/projects/{clip_project}/takes/{kept['id']}/use")
    assert np.array_equal(server.samples(clip_project), first)
    renamed = server.patch(
        f"/projects/{clip_project}/takes/{kept['id']}", {"name": "../Best\nof all"}
    )
    assert renamed["name"] == "Best\\nof all"
    for take in (kept, *takes):
        answer(server.client.delete(f"/projects/{clip_project}/takes/{take['id']}"), 204)
    assert not list((server.folder / clip_project / "takes").iterdir())


def test_other_settings_and_finding_cues_again(server, short_clip):
    project = server.upload(short_clip)
    found = server.cues(project)
    before = server.samples(project)
    job = server.job(f"/projects/{project}/render", {"seed": 3, "loudness_lufs": None})
    assert job["state"] == "done", job
    assert not np.array_equal(server.samples(project), before)
    settings = server.get(f"/projects/{project}")["settings"]
    assert settings["seed"] == 3 and settings["loudness_lufs"] is None
    server.post(f"/projects/{project}/undo")
    assert np.array_equal(server.samples(project), before)
    server.edit(project, {"add": {"time_s": 0.123}})
    job = server.job(f"/projects/{project}/spot", {"sensitivity": 0.5})
    assert job["state"] == "done", job
    assert server.cues(project) == found
    answer(server.client.delete(f"/projects/{project}"), 204)
    error_of(server.client.get(f"/projects/{project}"), 404)
    assert not (server.folder / project).exists()


def test_cue_sheets_are_exported_and_imported(server, clip_project):
    cues = server.cues(clip_project)
    path = f"/projects/{clip_project}/cues"
    for suffix in (".json", ".csv", ".mid", ".edl", ".html"):
        response = server.client.get(f"{path}/export", params={"format": suffix})
        assert response.status_code == 200 and response.content
        if suffix in (".json", ".csv"):
            again = server.client.post(
                f"{path}/import",
                params={"format": suffix},
                content=response.content,
                headers={"content-type": "application/octet-stream"},
            )
            assert answer(again)["changed"] == [] and server.cues(clip_project) == cues
    refused = server.client.post(
        f"{path}/import",
        params={"format": ".csv"},
        content=b"time_s,material\n1.0,cheese\n",
        headers={"content-type": "application/octet-stream"},
    )
    assert error_of(refused, 400)["error"].startswith("cues.csv, line 2: material='cheese'")


def test_sounds_in_all_forms(server, clip_project, short_clip):
    samples = server.samples(clip_project, start_sample=1000, end_sample=50_000)
    assert len(samples) == 49_000
    response = server.client.get(f"/projects/{clip_project}/sound", params={"format": "i16"})
    assert response.headers["x-sample-rate"] == "48000" and response.headers["x-channels"] == "1"
    exact = server.samples(clip_project)
    assert np.abs(np.frombuffer(response.content, "<i2") / 32767 - exact).max() < 1e-4
    wave = server.client.get(f"/projects/{clip_project}/sound", params={"format": "wav"}).content
    assert len(wave) == int.from_bytes(wave[4:8], "little") + 8
    original = server.samples(clip_project, source="original")
    expected = read_waveform(short_clip, rate_hz=RATE_HZ, end_s=len(exact) / RATE_HZ).samples[0]
    assert np.allclose(original, expected[: len(original)], atol=1e-6)
    error_of(server.client.get(f"/projects/{clip_project}/sound", params={"source": "x"}), 400)


@pytest.mark.parametrize("source", ["generated", "original"])
def test_peaks_spectrogram_and_loudness(server, clip_project, source):
    common = {"source": source, "start_s": 0, "end_s": 2.4}
    samples = server.samples(clip_project, source=source)
    response = server.client.get(
        f"/projects/{clip_project}/peaks", params={**common, "columns": 100}
    )
    peaks = np.frombuffer(response.content, "<i2").reshape(100, 2)
    assert peaks[:, 1].max() == int(np.ceil(samples.max() * 32767))
    picture = server.client.get(
        f"/projects/{clip_project}/spectrogram", params={**common, "width": 300, "height": 64}
    )
    assert picture.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).size == (300, 64)
    loudness = server.get(f"/projects/{clip_project}/loudness", source=source)
    assert loudness["integrated_lufs"] < 0 and loudness["true_peak_dbtp"] < 1


def test_video_frames_and_thumbnails(server, clip_project, short_clip):
    path = f"/projects/{clip_project}"
    part = server.client.get(f"{path}/video", headers={"Range": "bytes=10-29"})
    assert part.status_code == 206 and part.content == short_clip.read_bytes()[10:30]
    assert part.headers["content-type"] == "video/mp4"
    frames = server.get(f"{path}/frames", start_s=1.0, end_s=1.2)
    assert frames["total"] == 60 and frames["start_index"] == 25
    assert np.allclose(frames["times_s"], np.arange(25, 30) / 25, atol=1e-6)
    strip = server.client.get(
        f"{path}/thumbnails", params={"start_s": 0, "end_s": 2.4, "count": 4, "height": 32}
    )
    assert Image.open(io.BytesIO(strip.content)).size == (4 * 48, 32)


def test_the_state_of_the_page_is_kept(server, clip_project):
    view = {"playhead_s": 1.25, "muted": ["original"], "zoom": 2}
    server.patch(f"/projects/{clip_project}", {"view": view, "name": "Scene 7"})
    project = server.get(f"/projects/{clip_project}")
    assert project["view"] == view and project["name"] == "Scene 7"
    server.patch(f"/projects/{clip_project}", {"name": "A clip"})
    large = {"view": {"text": "x" * 70_000}}
    error_of(server.client.patch(f"/projects/{clip_project}", json=large), 400)


def test_events_report_edits_of_others(server, clip_project):
    cue = server.cues(clip_project)[0]
    with server.client.stream("GET", "/events", params={"project": clip_project}) as stream:
        lines = stream.iter_lines()
        events = iter_events(lines)
        name, data = next(events)
        assert name == "project" and data["id"] == clip_project
        edit = server.edit(clip_project, {"id": cue["id"], "set": {"level_db": -9.0}})
        name, data = next(event for event in events if event[0] == "edit")
        assert data == {"project": clip_project, **edit}
    server.post(f"/projects/{clip_project}/undo")


def iter_events(lines):
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_a_project_can_be_exported_with_everything(server, clip_project):
    wanted = {
        "name": "Scene 7: ../take",
        "sound": "bwf",
        "mix": "mix",
        "stems": "material",
        "cues": [".csv", ".edl"],
        "project": "reaper",
        "sidecar": True,
    }
    job = server.job(f"/projects/{clip_project}/exports", wanted)
    assert job["state"] == "done", job["error"]
    export = job["result"]
    names = [file["name"] for file in export["files"]]
    assert names[:2] == ["take.foley.mp4", "take.foley.wav"]
    assert {"take.cues.csv", "take.edl", "take.foley.rpp", "take.foley.mp4.json"} <= set(names)
    assert {"take.foley.stems/wood.wav", "take.foley.stems/glass.wav"} <= set(names)
    for file in export["files"]:
        response = server.client.get(server.address["url"] + file["url"])
        assert response.status_code == 200 and len(response.content) == file["bytes"]
        assert response.headers["content-disposition"].startswith("attachment")
    archive = server.client.get(f"/projects/{clip_project}/exports/{export['id']}/zip")
    assert archive.content[:2] == b"PK" and len(archive.content) > sum(
        file["bytes"] for file in export["files"]
    )
    listed = server.get(f"/projects/{clip_project}/exports")["exports"]
    assert listed[0] == export
    answer(server.client.delete(f"/projects/{clip_project}/exports/{export['id']}"), 204)
    assert server.get(f"/projects/{clip_project}/exports")["exports"] == []


def test_an_export_that_is_not_possible_leaves_nothing(server, clip_project):
    job = server.job(f"/projects/{clip_project}/exports", {"video": ".flv", "keep_original": True})
    assert job["state"] == "failed" and job["error"]["error"], job
    assert not list((server.folder / clip_project / "exports").iterdir())
    for wrong in ({"video": ".exe"}, {"cues": [".exe"]}, {"mix_level_lu": 99}, {"stems": "x"}):
        error_of(server.client.post(f"/projects/{clip_project}/exports", json=wrong), 400)
