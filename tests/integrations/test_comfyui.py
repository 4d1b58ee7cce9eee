"""The nodes for ComfyUI, in its shipped workflows, on a minimal executor."""

from __future__ import annotations

import copy
import gc
import inspect
import json
import os
import shutil
import sys
import weakref
from pathlib import Path

import pytest
import torch
from support.comfy_host import ComfyHost, InterruptProcessingException, InvalidPromptError

import foleyflow
from foleyflow import FoleyFlow
from foleyflow.clock import count_at
from foleyflow.media import probe

ROOT = Path(__file__).resolve().parents[2]
PACK = ROOT / "integrations" / "comfyui"
WORKFLOWS = sorted((PACK / "example_workflows").glob("*.json"))
DRUMS = ROOT / "foleyflow" / "assets" / "examples" / "drums.mp4"


@pytest.fixture(scope="module")
def modules_before():
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        if name.startswith(("comfy", "folder_paths")) or "integrations/comfyui" in name:
            del sys.modules[name]


@pytest.fixture(scope="module")
def host(tmp_path_factory, modules_before):
    host = ComfyHost(tmp_path_factory.mktemp("input"))
    shutil.copy(DRUMS, host.folder / "drums.mp4")
    sys.modules.update(host.modules())
    host.pack = host.load_pack(PACK)
    return host


@pytest.fixture(scope="module")
def model():
    return FoleyFlow.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def images(host):
    return host.classes["GetVideoComponents"]().run(video="drums.mp4")


@pytest.fixture(scope="module")
def from_images(host):
    return host.prompt_of(json.loads((PACK / "example_workflows/foley_of_images.json").read_text()))


@pytest.fixture(scope="module")
def from_file(host):
    return host.prompt_of(json.loads((PACK / "example_workflows/foley_of_a_file.json").read_text()))


def call(host, name, **inputs):
    instance = host.classes[name]()
    return getattr(instance, instance.FUNCTION)(**inputs)


def generated(host, images, rate, **settings):
    inputs = {"material": "auto", "seed": 0, "steps": 1, **settings}
    return call(host, "FoleyGenerate", images=images, frame_rate=rate, **inputs)


def test_the_pack_follows_the_conventions(host):
    pack = host.pack
    assert pack.NODE_CLASS_MAPPINGS.keys() == pack.NODE_DISPLAY_NAME_MAPPINGS.keys()
    assert set(pack.NODE_DISPLAY_NAME_MAPPINGS.values()) == {
        "Foley Spot",
        "Foley Cues Edit",
        "Foley Generate",
        "Foley From File",
    }
    for kind in pack.NODE_CLASS_MAPPINGS.values():
        parameters = inspect.signature(getattr(kind, kind.FUNCTION)).parameters
        assert set(host.inputs_of(kind)) == set(parameters) - {"self"}
        assert len(kind.RETURN_TYPES) == len(kind.RETURN_NAMES)
        assert kind.CATEGORY and kind.DESCRIPTION
    for name in ("FoleySpot", "FoleyGenerate"):
        kind, options = host.inputs_of(host.classes[name], ("required",))["frame_rate"]
        assert kind == "FLOAT" and options["forceInput"] and "default" not in options


def test_materials_are_those_of_the_model(host, model):
    names, _ = host.inputs_of(host.classes["FoleyGenerate"])["material"]
    assert names == ["auto", *model.materials]


def test_the_workflow_of_images_generates_the_sound_of_the_api(host, model, images, from_images):
    host.progress.clear()
    host.run(from_images)
    frames, _, rate = images
    expected = model.generate(frames=frames, rate_hz=rate)
    video = host.saved["8"]["video"]
    audio = video["audio"]
    assert audio["sample_rate"] == 48_000 and audio["waveform"].dtype == torch.float32
    assert audio["waveform"].shape == (1, 1, count_at(len(frames) / rate, 48_000))
    assert audio["waveform"].numpy().tobytes() == expected.waveform.tobytes()
    assert video["fps"] == rate
    # Foley Cues Edit shows the cues
    text = host.saved["5"]["source"]
    assert text.startswith("time_s,") and len(text.splitlines()) == len(expected.cues) + 1
    assert host.shown["4"] == {"text": (text,)}
    # Progress from 0 to the end of each node
    values = [value for value, total in host.progress if total == 1000]
    assert len(values) == len(host.progress) and values.count(1000) == 2
    ends = [n for n, value in enumerate(values) if value == 1000]
    for part in (values[: ends[0] + 1], values[ends[0] + 1 : ends[1] + 1]):
        assert part == sorted(part) and len(set(part)) > 1


def test_the_workflow_of_a_file_generates_the_sound_of_the_api(host, model, from_file):
    host.run(from_file)
    expected = model.generate(host.folder / "drums.mp4")
    audio = host.saved["2"]["audio"]
    assert audio["waveform"].numpy().tobytes() == expected.waveform.tobytes()
    assert audio["waveform"].shape[-1] == count_at(probe(DRUMS).duration_s, 48_000)


def test_unchanged_nodes_are_not_executed_again(host, from_file):
    host.run(from_file)
    host.run(from_file)
    assert host.executed == []
    os.utime(host.folder / "drums.mp4", ns=(0, 1_000_000_000))
    host.run(from_file)
    assert "1" in host.executed


def test_an_edited_text_replaces_the_cues(host, from_images):
    host.run(from_images)
    before = host.saved["8"]["video"]["audio"]["waveform"]
    edited = copy.deepcopy(from_images)
    edited["4"]["inputs"]["csv"] = "time_s,material,level_db\n0.5,glass,-3\n"
    host.run(edited)
    assert host.executed[:1] == ["4"] and "3" not in host.executed
    after = host.saved["8"]["video"]["audio"]["waveform"]
    assert after.shape == before.shape and not torch.equal(after, before)
    start = count_at(0.45, 48_000)
    assert not after[..., :start].any() and after[..., start:].abs().max() > 0.01


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time_s,material\n0.5,wod\n", "cues.csv, line 2: material='wod'"),
        ("time_s\n99\n", "99"),
        ("0.5 wood", "time_s"),
    ],
    ids=["material", "after-the-end", "no-header"],
)
def test_a_wrong_text_is_refused_with_its_line(host, images, text, message):
    (cues,) = call(host, "FoleySpot", images=images[0], frame_rate=images[2], sensitivity=0.5)
    with pytest.raises(RuntimeError, match=message) as caught:
        call(host, "FoleyCuesEdit", cues=cues, csv=text)
    assert "Hint: " in str(caught.value) and "/" not in str(caught.value).split("\n")[0]


def test_the_frame_rate_has_to_be_connected(host, from_images):
    for node in ("3", "6"):
        prompt = copy.deepcopy(from_images)
        del prompt[node]["inputs"]["frame_rate"]
        with pytest.raises(InvalidPromptError, match="Required input is missing: frame_rate"):
            host.run(prompt)


def test_a_missing_file_is_refused_before_the_run(host, from_file):
    prompt = copy.deepcopy(from_file)
    prompt["1"]["inputs"]["video"] = "nothing.mp4"
    with pytest.raises(InvalidPromptError, match=r"no such video: nothing\.mp4"):
        host.run(prompt)


@pytest.mark.parametrize("updates", [0, 1, 2])
def test_the_user_can_interrupt_each_part(host, from_file, updates):
    prompt = copy.deepcopy(from_file)
    prompt["1"]["inputs"]["seed"] = 100 + updates
    host.progress.clear()
    host.interrupt_at = updates
    with pytest.raises(InterruptProcessingException):
        host.run(prompt)
    host.run(prompt)  # works again
    assert "1" in host.executed


def test_the_model_is_loaded_once_and_freed_on_demand(host, from_images):
    host.reset()
    host.run(from_images)
    spot, generate = host._objects["3", "FoleySpot"], host._objects["6", "FoleyGenerate"]
    assert spot._model is generate._model is not None
    alive = weakref.ref(spot._model)
    del spot, generate
    # "Unload models and execution cache"
    host.reset()
    gc.collect()
    assert alive() is None


def test_nodes_can_free_the_model_after_their_run(host, from_images):
    host.reset()
    prompt = copy.deepcopy(from_images)
    for node in ("3", "6"):
        prompt[node]["inputs"]["keep_model"] = False
    host.run(prompt)
    gc.collect()
    models = sys.modules[f"{host.pack.__name__}.host"]._models
    assert len(models) == 0


def test_alpha_is_left_out_and_overshoot_is_clipped(host, images):
    frames, _, rate = images[0][:40], images[1], images[2]
    (audio, cues) = generated(host, frames, rate)
    with_alpha = torch.cat([frames, torch.rand(*frames.shape[:3], 1)], dim=-1)
    sharpened = torch.where(frames == 1.0, 1.2, torch.where(frames == 0.0, -0.2, frames))
    assert not torch.equal(sharpened, frames)
    for other in (with_alpha, sharpened):
        (found, found_cues) = generated(host, other, rate)
        assert torch.equal(found["waveform"], audio["waveform"]) and found_cues == cues


@pytest.mark.parametrize(
    ("count", "rate", "message"),
    [(1, 25.0, "1 frame given"), (3, 0.0, "rate_hz=0.0"), (3, float("nan"), "rate_hz=nan")],
)
def test_errors_have_their_hint_in_the_message(host, count, rate, message):
    with pytest.raises(RuntimeError, match=message) as caught:
        generated(host, torch.zeros(count, 32, 32, 3), rate)
    assert "\nHint: " in str(caught.value)


def test_material_and_seed_reach_the_model(host, images):
    frames, _, rate = images[0][:40], images[1], images[2]
    first, cues = generated(host, frames, rate, material="metal", seed=3)
    assert {cue.material for cue in cues} == {"metal"}
    again, _ = generated(host, frames, rate, material="metal", seed=3, cues=cues)
    assert torch.equal(first["waveform"], again["waveform"])
    other, _ = generated(host, frames, rate, material="metal", seed=4)
    assert not torch.equal(first["waveform"], other["waveform"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_the_links_of_the_workflows_fit_on_both_sides(path):
    workflow = json.loads(path.read_text())
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for number, source, slot, target, target_slot, kind in workflow["links"]:
        assert number in nodes[source]["outputs"][slot]["links"]
        assert nodes[source]["outputs"][slot]["type"] == kind
        assert nodes[target]["inputs"][target_slot]["link"] == number
        assert nodes[target]["inputs"][target_slot]["type"] in (kind, "*")
    assert workflow["last_node_id"] == max(nodes)
    assert workflow["last_link_id"] == max(link[0] for link in workflow["links"])


def test_the_metadata_is_that_of_the_package():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 or later")
    pack = tomllib.loads((PACK / "pyproject.toml").read_text())["project"]
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert pack["version"] == foleyflow.__version__
    assert pack["requires-python"] == package["requires-python"]
    assert pack["license"]["text"] == package["license"]
    assert (PACK / "requirements.txt").read_text().split() == pack["dependencies"]
