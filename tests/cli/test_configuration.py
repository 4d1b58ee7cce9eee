"""Defaults from FOLEYFLOW_* variables and TOML files, their order, and `foleyflow config`."""

import dataclasses
import itertools

import pytest
import typer
from support.cli_model import check_refusal, run_cli

from foleyflow.cli.app import app
from foleyflow.cli.configuration import NOT_IN_PROJECTS, options_of, variables

OPTIONS = options_of(typer.main.get_command(app))
PLAN = ("generate", "clip.mp4", "--dry-run")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources:
    """Writes the sources of defaults."""

    user: object
    project: object
    environment: pytest.MonkeyPatch

    def write(self, source: str, seed: int) -> None:
        if source == "environment":
            self.environment.setenv("FOLEYFLOW_SEED", str(seed))
        else:
            getattr(self, source).write_text(f"seed = {seed}\n")


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Empty sources; the current folder is two below that of the project file."""
    folder = tmp_path / "project" / "clips" / "today"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    user = tmp_path / "user.toml"
    user.write_text("")
    monkeypatch.setenv("FOLEYFLOW_CONFIG", str(user))
    project = tmp_path / "project" / "foleyflow.toml"
    return Sources(user=user, project=project, environment=monkeypatch)


def settings(*arguments):
    outcome = run_cli(*PLAN, *arguments)
    assert (outcome.status, outcome.stderr) == (0, "")
    return outcome.answer["settings"]


@pytest.mark.parametrize(
    "present",
    [
        each
        for count in range(5)
        for each in itertools.combinations(("user", "project", "environment", "flag"), count)
    ],
    ids=lambda present: "-".join(present) or "none",
)
def test_the_strongest_source_wins(sources, present):
    """Every combination of the four sources; the order is that of the list above."""
    seeds = {"user": 1, "project": 2, "environment": 3, "flag": 4}
    for source in present:
        if source != "flag":
            sources.write(source, seeds[source])
    flags = ("--seed", "4") if "flag" in present else ()
    assert settings(*flags)["seed"] == (seeds[present[-1]] if present else 0)


def test_a_table_of_a_command_is_stronger_than_the_top(sources, monkeypatch):
    sources.user.write_text("seed = 1\nsteps = 4\n[generate]\nseed = 2\nstereo = true\n")
    assert {"seed": 2, "steps": 4, "stereo": True}.items() <= settings().items()
    monkeypatch.setenv("FOLEYFLOW_SEED", "3")
    assert settings()["seed"] == 3
    monkeypatch.setenv("FOLEYFLOW_GENERATE_SEED", "5")
    monkeypatch.setenv("FOLEYFLOW_GENERATE_STEREO", "no")
    assert {"seed": 5, "stereo": False}.items() <= settings().items()


def test_names_are_those_of_the_options(sources):
    """Text, numbers and choices; `format` and `loudness` have other names in the code."""
    sources.user.write_text(
        "[generate]\nformat = 'flac'\naudio-only = true\nloudness = -16\nmodel = 'embedded'\n"
    )
    plan = settings()
    assert (plan["sound_format"], plan["loudness"], plan["model"]) == ("flac", "-16", "embedded")


def test_relative_names_start_at_the_folder_of_the_file(sources):
    sources.project.write_text(
        "model = 'my/model'\nweights-dir = 'weights'\n[generate]\noutput = 'results/'\n"
    )
    plan, folder = settings(), sources.project.parent
    assert plan["model"] == str(folder / "my/model")
    assert plan["weights_dir"] == str(folder / "weights")
    assert plan["output"] == f"{folder}/results/"
    assert settings("--model", "other")["model"] == "other"


def test_lists(sources, tmp_path, monkeypatch):
    arguments = ("train", "flow", "--recipe", "smoke", "--dry-run", "--out", tmp_path / "out")
    sources.user.write_text("[train]\nset = ['train.steps=3', 'train.seed=7']\n")
    assert run_cli(*arguments).answer["settings"]["train"]["steps"] == 3
    monkeypatch.setenv("FOLEYFLOW_TRAIN_SET", "train.steps=5 train.seed=8")
    answer = run_cli(*arguments).answer["settings"]["train"]
    assert (answer["steps"], answer["seed"]) == (5, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sede = 1", "sede: no such option; did you mean seed?"),
        ("[generat]\nseed = 1", "generat: no such command; did you mean generate?"),
        ("[generate]\nport = 1", "generate.port: no such option"),
        ("[data.simulte]\nclips = 1", "data.simulte: no such command; did you mean simulate?"),
        ("[generate.seed]\nx = 1", "generate.seed: no such command"),
        ("version = true", "version: no such option"),
        ("seed = 'many'", "seed = 'many': "),
        ("seed = -1", "seed = -1: "),
        ("seed = true", "seed = True: text was expected"),
        ("seed = [1]", "seed = [1]: text was expected"),
        ("stereo = 1", "stereo = 1: true or false was expected"),
        ("mix = 'loud'", "mix = 'loud': "),
        ("seed =", "Invalid value"),
        ("seed = 1\nseed = 2", "Cannot overwrite"),
    ],
)
def test_a_wrong_file_is_refused(sources, text, message):
    sources.project.write_text(text)
    line = check_refusal(run_cli(*PLAN))
    assert line.startswith(f"foleyflow: {sources.project}: ")
    assert message in line


def test_a_wrong_file_is_refused_as_json(sources):
    sources.project.write_text("sede = 1")
    outcome = run_cli("generate", "clip.mp4", "--json")
    assert outcome.status == 2
    assert "did you mean seed?" in outcome.answer["error"] and outcome.answer["hint"]


def test_a_file_that_is_named_must_exist(sources, monkeypatch, tmp_path):
    monkeypatch.setenv("FOLEYFLOW_CONFIG", str(tmp_path / "none.toml"))
    assert "none.toml: No such file" in check_refusal(run_cli(*PLAN))
    monkeypatch.setenv("FOLEYFLOW_CONFIG", "")
    sources.project.write_text("seed = 1")
    assert settings()["seed"] == 0
    sources.project.write_bytes(b"\xff")
    monkeypatch.setenv("FOLEYFLOW_CONFIG", str(sources.user))
    assert "not UTF-8" in check_refusal(run_cli(*PLAN))


@pytest.mark.parametrize("name", sorted(NOT_IN_PROJECTS))
def test_a_project_file_does_not_open_the_studio_to_the_network(sources, name):
    value = "true" if OPTIONS[("serve",)][name].is_flag else "'0.0.0.0'"
    sources.project.write_text(f"[serve]\n{name} = {value}\n")
    assert "only the user file" in check_refusal(run_cli("serve"))
    sources.project.rename(sources.user)
    shown = run_cli("config", "--json").answer["settings"]
    assert f"--{name}" in [setting["option"] for setting in shown]


def test_a_wrong_variable_is_refused_and_an_unknown_one_warned_of(sources, monkeypatch):
    monkeypatch.setenv("FOLEYFLOW_SEDE", "1")
    outcome = run_cli(*PLAN)
    assert outcome.status == 0
    warning = "foleyflow: warning: FOLEYFLOW_SEDE: no such option; did you mean FOLEYFLOW_SEED?\n"
    assert outcome.stderr == warning
    monkeypatch.delenv("FOLEYFLOW_SEDE")
    monkeypatch.setenv("FOLEYFLOW_SEED", "many")
    assert "FOLEYFLOW_SEED = 'many': " in check_refusal(run_cli(*PLAN))
    monkeypatch.setenv("FOLEYFLOW_SEED", "")
    assert settings()["seed"] == 0


def test_precision_can_be_configured(sources, monkeypatch):
    monkeypatch.delenv("FOLEYFLOW_PRECISION", raising=False)
    sources.user.write_text("precision = 'none'")
    assert "precision 'none'" in check_refusal(run_cli(*PLAN))
    assert run_cli("--precision", "fp32", *PLAN).status == 0
    monkeypatch.setenv("FOLEYFLOW_PRECISION", "fp32")
    assert run_cli(*PLAN).status == 0


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("sensitivity = 0.3", ("--cues", "clip.cues.json")),
        ("mix-level = 3", ("--mix", "replace")),
        ("duck-depth = 3", ("--mix", "mix")),
        ("keep-original = true", ("--audio-only",)),
        ("format = 'wav16'", ()),
        ("library-variation = 'off'", ()),
        ("library = 'sounds'", ("--reference", "hit.wav")),
        ("reference = 'hit.wav'", ("--library", "sounds")),
    ],
)
def test_a_configured_default_gives_way_to_the_command_line(sources, text, arguments):
    """The same two options on the command line are refused."""
    (sources.project.parent / "clips/today/clip.cues.json").write_text(
        '{"format": "foleyflow cues", "version": 1, "cues": []}'
    )
    sources.user.write_text(f"[generate]\n{text}\n")
    outcome = run_cli(*PLAN, *arguments)
    assert (outcome.status, outcome.stderr) == (0, "")
    name, value = text.split(" = ")
    flag = f"--{name}" if value == "true" else f"--{name}={value.strip(chr(39))}"
    assert run_cli(*PLAN, *arguments, flag).status == 2


def test_every_variable_belongs_to_one_option():
    """No variable of a table is also that of an option with a longer name."""
    keys = {
        (path[:length], name)
        for path, named in OPTIONS.items()
        for name in named
        for length in range(len(path) + 1)
    }
    assert len(variables(OPTIONS)) == len(keys)
    assert variables(OPTIONS)["FOLEYFLOW_DATA_SIMULATE_CLIPS"] == (("data", "simulate"), "clips")


def test_config_shows_where_each_value_comes_from(sources, monkeypatch):
    sources.user.write_text("device = 'cpu'\n")
    sources.project.write_text("[generate]\nmaterial = 'metal'\nstereo = true\n")
    monkeypatch.setenv("FOLEYFLOW_SEED", "3")
    monkeypatch.setenv("FOLEYFLOW_SEDE", "3")
    answer = run_cli("config", "generate", "--json").answer
    assert [file["exists"] for file in answer["files"]] == [True, True]
    assert len(answer["unknown_variables"]) == 1
    found = {each["option"]: (each["value"], each["origin"]) for each in answer["settings"]}
    assert found["--device"] == ("cpu", f"{sources.user}: device")
    assert found["--material"] == ("metal", f"{sources.project}: generate.material")
    assert found["--stereo"] == (True, f"{sources.project}: generate.stereo")
    assert found["--seed"] == (3, "FOLEYFLOW_SEED")
    assert found["--steps"] == (1, "default")
    assert found.keys() == {f"--{name}" for name in OPTIONS[("generate",)]}
    shown = run_cli("config").stdout
    assert "generate --material" in shown and "generate --steps" not in shown
    assert "FOLEYFLOW_SEDE: no such option" in shown


def test_config_of_an_unknown_command(sources):
    assert "'generat': no such command" in check_refusal(run_cli("config", "generat"))


@pytest.mark.parametrize(
    "arguments", [("config",), ("config", "data", "simulate"), ("config", "train", "--json")]
)
def test_config_without_any_configuration(sources, arguments):
    outcome = run_cli(*arguments)
    assert (outcome.status, outcome.stderr) == (0, "")
    assert outcome.stdout
