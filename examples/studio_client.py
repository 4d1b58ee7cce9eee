"""Generate the sound of a video by the studio's HTTP API, after an edit of its cues.

Start `foleyflow serve`, then: python studio_client.py http://127.0.0.1:PORT API_KEY clip.mp4
"""

import json
import shutil
import sys
import urllib.parse
import urllib.request
from pathlib import Path


def main(address: str, api_key: str, video: str) -> None:
    """Uploads the video, makes its first hit metal, and saves the result next to it."""

    def send(method: str, path: str, body: object = None) -> urllib.request.Request:
        data = body if body is None or hasattr(body, "read") else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        if hasattr(body, "read"):
            headers["Content-Length"] = str(Path(video).stat().st_size)
        request = urllib.request.Request(address + path, data, headers, method=method)
        return urllib.request.urlopen(request)

    def finished(job: dict) -> dict:
        while job["state"] in ("waiting", "running"):
            job = json.load(send("GET", f"/api/v1/jobs/{job['id']}?wait_s=30"))
        return job["result"]

    name = urllib.parse.quote(Path(video).name)
    with open(video, "rb") as file:
        project = json.load(send("POST", f"/api/v1/uploads?name={name}", file))
    path = f"/api/v1/projects/{project['id']}"
    for job in json.load(send("GET", f"/api/v1/jobs?project={project['id']}"))["jobs"]:
        finished(job)  # the analysis
    hits = [cue for cue in json.load(send("GET", f"{path}/cues"))["cues"] if cue["enabled"]]
    for cue in hits[:1]:
        change = {"id": cue["id"], "set": {"material": "metal"}}
        send("PATCH", f"{path}/cues", {"changes": [change]})
    export = finished(json.load(send("POST", f"{path}/exports", {"sound": "wav24"})))
    for file in export["files"]:
        with open(Path(video).with_name(file["name"]), "wb") as target:
            shutil.copyfileobj(send("GET", file["url"]), target)


if __name__ == "__main__":
    main(*sys.argv[1:])
