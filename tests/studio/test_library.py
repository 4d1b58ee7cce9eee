"""The studio with recorded sounds."""

from __future__ import annotations

import numpy as np
import soundfile
from support.studio_server import StudioServer, answer


def test_the_library_is_a_sound_of_its_own_and_can_be_switched_off(tmp_path, short_clip):
    library = tmp_path / "sounds"
    library.mkdir()
    click = 0.5 * np.exp(-np.arange(4800) / 400) * np.sin(np.arange(4800) / 5)
    soundfile.write(library / "wood_hit.wav", click, 48_000)
    server = StudioServer(tmp_path / "projects", "--library", library)
    try:
        assert server.get("/status")["has_library"]
        project = server.upload(short_clip)
        cues = [{"time_s": 0.5, "material": "wood"}, {"time_s": 1.5, "material": "metal"}]
        answer(server.client.put(f"/projects/{project}/cues", json={"cues": cues}))
        part = server.samples(project, source="library")
        complete = server.samples(project)
        assert np.abs(part[24_000:28_000]).max() > 0.01 and not part[60_000:].any()
        quiet = slice(24_000, 26_000)  # no cue of the model sounds there
        assert np.allclose(part[quiet], complete[quiet], atol=1e-3)
        # In stereo the part from the library is panned, too
        server.edit(project, {"id": server.cues(project)[0]["id"], "set": {"pan": 1.0}})
        server.render(project, stereo=True)
        panned, both = server.samples(project, source="library"), server.samples(project)
        assert np.allclose(np.hypot(*panned), np.abs(part), atol=1e-5)
        assert np.allclose(panned[:, quiet], both[:, quiet], atol=1e-3)
        assert np.square(panned[1]).sum() > 4 * np.square(panned[0]).sum()
        server.render(project, stereo=False)
        job = server.job(f"/projects/{project}/render", {"library": False})
        assert job["state"] == "done", job
        assert not server.samples(project, source="library").any()
        peaks = server.client.get(
            f"/projects/{project}/peaks",
            params={"source": "library", "start_s": 0, "end_s": 1, "columns": 4},
        )
        assert peaks.content == bytes(16)
    finally:
        server.stop()
    assert "Traceback" not in server.errors, server.errors
