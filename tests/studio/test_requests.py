"""Random requests against the description of the API: no server error, no traceback, no new file.

FOLEYFLOW_REQUESTS sets the number of requests of each kind.
"""

from __future__ import annotations

import os
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.studio_server import StudioServer

REQUESTS = int(os.environ.get("FOLEYFLOW_REQUESTS", "60"))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=30),
    st.sampled_from(
        ["../../etc/passwd", "c1", "take:t1", "generated", ".json", "drums", "\0", "%"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def operations(server) -> list[tuple[str, str, dict]]:
    """(path, method, description) of all requests except those that wait or stream for long."""
    paths = server.get("/openapi.json")["paths"]
    return [
        (path.removeprefix("/api/v1"), method, operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if not path.endswith(("/events", "/uploads"))
    ]


@pytest.fixture(scope="module")
def victim(server, short_clip) -> str:
    return server.upload(short_clip, "victim.mp4")


@st.composite
def drawn_request(draw, operations: list, project: str, schemas: dict):
    path, method, operation = draw(st.sampled_from(operations))
    parts = {}
    for name in ("project_id", "job_id", "take_id", "export_id", "cue_id", "index"):
        own_names = {"project_id": [project], "job_id": ["j1"], "index": ["0"], "cue_id": ["c1"]}
        known = own_names.get(name, ["t1", "e1"])
        own = st.sampled_from(known)
        strange = st.text(min_size=1, max_size=20) | st.sampled_from(["..", "%2e%2e", "-1"])
        parts[name] = draw(own | own | own | strange)
    query = {
        each["name"]: str(draw(SCALARS))
        for each in operation.get("parameters", [])
        if each["in"] == "query" and draw(st.integers(0, 3))
    }
    body = draw(VALUES)
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content and draw(st.integers(0, 5)):
        schema = schemas[content["schema"]["$ref"].split("/")[-1]]
        names = sorted(schema["properties"])
        body = {
            name: draw(st.sampled_from([1, 2, 0.5, True, "x", [], [{"id": "c1"}]]) | VALUES)
            for name in draw(st.lists(st.sampled_from(names), unique=True, max_size=4))
        }
    return method, path, parts, query, body


def test_no_request_causes_an_error_of_the_server(server, operations, victim):
    schemas = server.get("/openapi.json")["components"]["schemas"]
    outside = set(server.folder.parent.iterdir())

    @settings(
        max_examples=REQUESTS,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def send(data):
        method, path, parts, query, body = data.draw(drawn_request(operations, victim, schemas))
        if method == "delete" and path == "/projects/{project_id}":
            parts["project_id"] += "x"
        for name, text in parts.items():
            path = path.replace("{" + name + "}", quote(text, safe=""))
        response = server.client.request(method, path, params=query, json=body)
        assert response.status_code < 500, (method, path, query, body, response.text)
        if response.status_code >= 400:
            assert set(response.json()) == {"error", "hint"}, response.text

    send()
    assert set(server.folder.parent.iterdir()) == outside
    assert StudioServer.get(server, "/status")["version"]
    assert "Traceback" not in server.errors, server.errors
