"""Jobs: turns of the projects, cancelling, errors and events."""

from __future__ import annotations

import threading

import pytest

from foleyflow.errors import MediaError
from foleyflow.studio import jobs as jobs_module
from foleyflow.studio.jobs import Jobs
from foleyflow.studio.problems import NotFound, TooMany


@pytest.fixture
def jobs():
    changes = []
    made = Jobs(("a", "b"), lambda job: changes.append((job.id, job.state)))
    made.changes = changes
    yield made
    made.close()


def blocked(jobs: Jobs, project: str = "first"):
    """A running job of the lane, and the event that lets it end."""
    running, release = threading.Event(), threading.Event()

    def work(job):
        running.set()
        release.wait(10)

    job = jobs.start("a", work, project=project, kind="export")
    assert running.wait(10)
    return job, release


def test_projects_take_turns(jobs):
    order = []
    _, release = blocked(jobs)
    started = [
        jobs.start("a", lambda job: order.append(job.project), project=name, kind="export")
        for name in ("x", "x", "x", "y", "z", "z")
    ]
    assert [jobs.to_json(job)["waiting_for"] for job in started] == [1, 4, 6, 2, 3, 5]
    release.set()
    for job in started:
        assert job.finished.wait(10)
    assert order == ["x", "y", "z", "x", "z", "x"]


def test_lanes_do_not_wait_for_each_other(jobs):
    _, release = blocked(jobs)
    other = jobs.start("b", lambda job: 7, project="first", kind="export")
    assert other.finished.wait(10) and other.result == 7
    release.set()


def test_waiting_and_running_jobs_are_cancelled(jobs):
    _, release = blocked(jobs)
    waiting = jobs.start("a", lambda job: None, project="x", kind="export")
    jobs.cancel(waiting)
    assert waiting.state == "cancelled" and waiting.finished.is_set()
    release.set()
    entered, go_on = threading.Event(), threading.Event()

    def work(job):
        entered.set()
        go_on.wait(10)
        job.report(0.5)
        return "never"

    running = jobs.start("a", work, project="x", kind="export")
    assert entered.wait(10)
    jobs.cancel(running)
    go_on.set()
    assert running.finished.wait(10)
    assert running.state == "cancelled" and running.result is None


def test_errors_are_described_and_the_lane_goes_on(jobs):
    def refused(job):
        raise MediaError("no\nvideo", hint="give one")

    failed = jobs.start("a", refused, project="x", kind="export")
    unexpected = jobs.start("a", lambda job: 1 / 0, project="x", kind="export")
    last = jobs.start("a", lambda job: 5, project="x", kind="export")
    assert last.finished.wait(10) and last.result == 5
    assert failed.error == {"error": "no\\nvideo", "hint": "give one"}
    assert "ZeroDivisionError" in unexpected.error["error"]


def test_progress_and_time_left(jobs):
    seen = []

    def work(job):
        job.report(0.5)
        seen.append(jobs.to_json(job))
        job.part(0.5, 1.0)(0.5)
        seen.append(jobs.to_json(job))

    job = jobs.start("a", work, project="x", kind="export")
    assert job.finished.wait(10)
    assert [each["progress"] for each in seen] == [0.5, 0.75]
    assert seen[0]["seconds_left"] >= 0
    assert jobs.to_json(job)["seconds_left"] is None
    assert (job.id, "done") in jobs.changes


def test_a_full_queue_is_refused_and_hidden_jobs_are_not_listed(jobs, monkeypatch):
    monkeypatch.setattr(jobs_module, "MOST_WAITING", 2)
    _, release = blocked(jobs)
    hidden = jobs.start("a", lambda job: 1, project="x", kind="open", is_shown=False)
    jobs.start("a", lambda job: 1, project="x", kind="export")
    with pytest.raises(TooMany):
        jobs.start("a", lambda job: 1, project="x", kind="export")
    assert len(jobs.listed("x")) == 1
    with pytest.raises(NotFound):
        jobs.get(hidden.id)
    release.set()
