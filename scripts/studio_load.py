"""Loads the studio with clients that edit at once, and with damaged uploads.

python scripts/studio_load.py edits --clients 8       # prints seconds from edit to sound
python scripts/studio_load.py uploads --count 500     # prints answers, hangs and memory
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.studio_server import StudioServer  # noqa: E402

from foleyflow.experiments.robustness.corpus import write_seed_clips  # noqa: E402
from foleyflow.experiments.robustness.mutations import mutate  # noqa: E402

EXAMPLES = ("drums", "chopping", "falling")
LONGEST_S = 120.0  # an upload that takes longer counts as a hang


def main() -> None:
    """Runs one of the two jobs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", choices=["edits", "uploads"])
    parser.add_argument("--clients", type=int, default=8, help="that edit at once")
    parser.add_argument("--edits", type=int, default=25, help="of each client")
    parser.add_argument("--count", type=int, default=500, help="of uploads")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = StudioServer(Path(folder) / "projects")
        try:
            if options.job == "edits":
                for projects in (options.clients, 1):
                    edit_at_once(server, options.clients, projects, options.edits)
            else:
                upload_damaged(server, Path(folder), options.count)
        finally:
            server.stop()
        print(f"tracebacks: {server.errors.count('Traceback')}")


def edit_at_once(server: StudioServer, clients: int, projects: int, edits: int) -> None:
    """Prints the times from edits to their fetched sound, of clients in some projects."""
    ids = [server.example(EXAMPLES[number % len(EXAMPLES)]) for number in range(projects)]
    times_s: list[float] = []
    refused: list[str] = []

    def edit(number: int) -> None:
        project, rng, client = ids[number % projects], random.Random(number), server.new_client()
        cues = [cue for cue in server.cues(project) if cue["enabled"]]
        for _ in range(edits):
            cue, start_s = rng.choice(cues), time.perf_counter()
            time_s = max(0.0, round(cue["time_s"] + rng.uniform(-0.03, 0.03), 4))
            change = {"id": cue["id"], "set": {"time_s": time_s, "level_db": rng.uniform(-20, 0)}}
            answer = client.patch(f"/projects/{project}/cues", json={"changes": [change]})
            if answer.status_code != 200:
                refused.append(answer.text)
                continue
            for stretch in answer.json()["changed"]:
                client.get(f"/projects/{project}/sound", params=stretch)
            times_s.append(time.perf_counter() - start_s)
            time.sleep(rng.uniform(0.0, 0.4))

    threads = [threading.Thread(target=edit, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    median_s, high_s = np.percentile(times_s, [50, 95])
    print(
        f"{clients} clients, {projects} projects: {len(times_s)} edits, median {median_s:.2f} s, "
        f"95th percentile {high_s:.2f} s, refused {refused or 0}"
    )


def upload_damaged(server: StudioServer, folder: Path, count: int) -> None:
    """Uploads damaged videos, reads everything of those that are accepted, and deletes them."""
    seeds = [path for paths in write_seed_clips(folder).values() for path in paths]
    contents = [path.read_bytes() for path in seeds]
    answers: collections.Counter[str] = collections.Counter()
    for number in range(count):
        rng = np.random.default_rng(20_000 + number)
        chosen = int(rng.integers(len(seeds)))
        damaged, _ = mutate(contents[chosen], rng, donors=contents)
        start_s = time.monotonic()
        answer = server.client.post(
            "/uploads", params={"name": seeds[chosen].name}, content=damaged
        )
        kind = str(answer.status_code)
        if answer.status_code == 201:
            kind = read_everything(server, answer.json()["id"], start_s)
        answers[kind] += 1
        if number % 50 == 49 or number + 1 == count:
            print(f"{number + 1} uploads: {dict(answers)}, memory {memory_mb(server)} MB")
    print(f"left: {[path.name for path in server.folder.iterdir()]}")


def read_everything(server: StudioServer, project: str, start_s: float) -> str:
    """The state of a project when its analysis has ended, or the first path with an error."""
    while (state := server.get(f"/projects/{project}")["state"]) == "analysing":
        if time.monotonic() - start_s > LONGEST_S:
            return "hang"
        time.sleep(0.05)
    original = {"source": "original"}
    stretch = {"start_s": 0, "end_s": 1}
    for path, query in (
        ("frames", {}),
        ("thumbnails", {**stretch, "count": 3, "height": 16}),
        ("sound", original),
        ("video", {}),
        ("peaks", {**original, **stretch, "columns": 9}),
    ):
        answer = server.client.get(f"/projects/{project}/{path}", params=query)
        if answer.status_code >= 500:
            return f"{path}: {answer.status_code}"
    server.client.delete(f"/projects/{project}")
    return state


def memory_mb(server: StudioServer) -> int:
    """Resident memory of the server."""
    status = Path(f"/proc/{server.process.pid}/status").read_text("utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


if __name__ == "__main__":
    main()
