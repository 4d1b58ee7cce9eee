"""The structure of the package: layers, imports, unique definitions, and forbidden constructs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "foleyflow"
FILES = sorted(PACKAGE.rglob("*.py"))

# Files and packages that know nothing above them.
GROUND = {
    "attention",
    "clock",
    "cues",
    "errors",
    "event_peaks",
    "parallel",
    "signals",
    "spectrogram",
    "system",
    "weight_average",
    "weights",
    "weights_migration",
}
# The parts of the method and the reading of media; they do not import each other.
PARTS = {"media", "encoders", "alignment", "flow", "codec"}
# Nothing below imports these.
TOP = {"cli", "experiments", "doctor", "__main__"}
# What each package may import in addition to itself and the ground.
ALLOWED = {
    **{name: set() for name in GROUND | PARTS},
    "pretrained": set(PARTS),
    "library": {"media"},
    "delivery": {"media"},
    "inference": PARTS | {"pretrained", "library", "delivery", "judges"},
    "studio": {"media", "library", "inference"},
    "data": {"media"},
    "simulation": {"media", "data"},
    "features": PARTS | {"data", "simulation", "pretrained"},
    # Networks that score sounds. What is trained to generate imports none of them; of `inference`,
    # only the ranking of finished takes does.
    "judges": {"encoders", "media"},
    "evaluation": {"media", "judges"},
    "training": PARTS | {"data", "features", "judges"},
    "recipes": PARTS
    | {"data", "simulation", "features", "judges", "training", "pretrained", "inference"},
    # Trains, measures and writes a model: everything but the laboratory and the commands.
    "adaptation": PARTS
    | {
        "data",
        "simulation",
        "features",
        "training",
        "recipes",
        "pretrained",
        "inference",
        "evaluation",
    },
    # Names that resolve when they are first used, and for type checkers.
    "__init__": {"inference"},
}
# Packages that only one place imports, so that they can be replaced there.
ONLY_IN = {
    "av": (
        "foleyflow/media/",
        "foleyflow/simulation/",
        "foleyflow/doctor.py",
        "foleyflow/experiments/robustness/",  # an oracle independent of the product's own reader
    ),
    "transformers": ("foleyflow/encoders/", "foleyflow/judges/networks/"),
    "timm": ("foleyflow/encoders/",),
    "mujoco": ("foleyflow/simulation/", "foleyflow/doctor.py", "foleyflow/cli/data.py"),
    "librosa": ("foleyflow/evaluation/",),
    "mir_eval": ("foleyflow/evaluation/",),
    "sklearn": ("foleyflow/evaluation/",),
    "ray": ("foleyflow/parallel/ray_cluster.py",),
    "peft": ("foleyflow/training/lora.py",),
    "mido": ("foleyflow/cues/midi_format.py",),
    "timecode": ("foleyflow/cues/video_reference.py",),
    "opentimelineio": ("foleyflow/cues/otio_format.py",),
    "fastapi": ("foleyflow/studio/",),
    "starlette": ("foleyflow/studio/",),
    "pydantic": ("foleyflow/studio/",),
    "uvicorn": ("foleyflow/studio/serving.py",),
}
LOGGER_CALLS = {"debug", "info", "warning", "error", "critical", "exception", "log", "basicConfig"}

TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in FILES}
NAMES = list(TREES)


def module_of(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {module_of(name) for name in NAMES}


def place_of(module: str) -> str:
    """The package, or the file at the top level, to which a module belongs."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(name: str, *, on_import: bool = False):
    """(line, module) of every import; `on_import` skips those in functions and type hints."""
    stack = [TREES[name]]
    while stack:
        node = stack.pop()
        if on_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if on_import and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            stack.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module_of(name).split(".")
                if not name.endswith("__init__.py"):
                    package = package[:-1]
                package = package[: len(package) - node.level + 1]
                base = ".".join([*package, base] if base else package)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield node.lineno, inner if inner in MODULES else base
        stack.extend(ast.iter_child_nodes(node))


def nodes(kind: type):
    """(file:line, node) of every AST node of one type in the package."""
    for name in NAMES:
        for node in ast.walk(TREES[name]):
            if isinstance(node, kind):
                yield f"{name}:{node.lineno}", node


def test_layers():
    wrong = []
    for name in NAMES:
        place = place_of(module_of(name))
        if place in TOP:
            continue
        assert place in ALLOWED, f"{place}: list in this test what it may import"
        allowed = ALLOWED[place] | GROUND | {place, "__init__"}
        wrong += [
            f"{name}:{line} imports {module}"
            for line, module in imports(name)
            if module.split(".")[0] == "foleyflow" and place_of(module) not in allowed
        ]
    assert not wrong, wrong


def test_ground_modules_import_only_the_ground():
    wrong = [
        f"{name}:{line} imports {module}"
        for name in NAMES
        if place_of(module_of(name)) in GROUND
        for line, module in imports(name)
        if module.startswith("foleyflow.") and place_of(module) not in GROUND
    ]
    assert not wrong, wrong


def test_only_the_training_of_judges_imports_judges():
    users = {
        name
        for name in NAMES
        if place_of(module_of(name)) in ("training", "recipes")
        for _, module in imports(name)
        if place_of(module) == "judges"
    }
    assert all("judge" in name or "tagger" in name or "sync" in name for name in users), users


def test_only_the_ranking_of_takes_uses_a_judge_in_the_product():
    users = {
        name
        for name in NAMES
        if place_of(module_of(name)) == "inference"
        for _, module in imports(name)
        if place_of(module) == "judges"
    }
    assert users == {"foleyflow/inference/take_synchrony.py"}


def test_no_import_cycles():
    graph = {
        module_of(name): {
            module
            for _, module in imports(name, on_import=True)
            if module in MODULES and module not in ("foleyflow", module_of(name))
        }
        for name in NAMES
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for other in graph.get(module, ()):
                visit(other, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_third_party_packages_are_imported_in_one_place():
    wrong = [
        f"{name}:{line} imports {module}"
        for name in NAMES
        for line, module in imports(name)
        if (places := ONLY_IN.get(module.split(".")[0])) and not name.startswith(places)
    ]
    assert not wrong, wrong


def test_only_the_command_line_prints_and_configures_logging():
    root_logger = {f"logging.{call}" for call in LOGGER_CALLS}
    wrong = [
        f"{where} {ast.unparse(call.func)}"
        for where, call in nodes(ast.Call)
        if not where.startswith("foleyflow/cli")
        and ast.unparse(call.func) in root_logger | {"print", "logging.StreamHandler"}
    ]
    wrong += [
        f"{where} {ast.unparse(call)}"
        for where, call in nodes(ast.Call)
        if ast.unparse(call.func) == "logging.getLogger"
        and not where.startswith("foleyflow/cli")
        and ast.unparse(call) != "logging.getLogger(__name__)"
    ]
    assert not wrong, wrong


def test_no_sys_path_edits():
    wrong = [where for where, node in nodes(ast.Attribute) if ast.unparse(node) == "sys.path"]
    assert not wrong, wrong


def test_no_star_imports():
    wrong = [where for where, node in nodes(ast.ImportFrom) if node.names[0].name == "*"]
    assert not wrong, wrong


def test_no_paths_of_one_machine():
    machine_path = re.compile(r"^/(home|work|tmp|root|Users)(/|$)")
    wrong = [
        f"{where} {node.value!r}"
        for where, node in nodes(ast.Constant)
        if isinstance(node.value, str) and machine_path.match(node.value)
    ]
    assert not wrong, wrong


def test_no_error_is_swallowed():
    wrong = []
    for where, handler in nodes(ast.ExceptHandler):
        bare = handler.type is None
        broad = not bare and ast.unparse(handler.type) in ("Exception", "BaseException")
        empty = all(
            ast.unparse(line) in ("pass", "continue", "return", "return None", "...")
            for line in handler.body
        )
        if bare or (broad and empty):
            wrong.append(where)
    assert not wrong, wrong


def test_no_assert_statements():
    wrong = [where for where, _ in nodes(ast.Assert)]
    assert not wrong, wrong


def test_no_pickle():
    wrong = [
        f"{name}:{line} {module}"
        for name in NAMES
        for line, module in imports(name)
        if module.split(".")[0] in ("pickle", "dill", "joblib", "shelve")
    ]
    wrong += [
        f"{where} torch.load without weights_only=True"
        for where, call in nodes(ast.Call)
        if ast.unparse(call.func) == "torch.load" and "weights_only=True" not in ast.unparse(call)
    ]
    assert not wrong, wrong


def test_everything_public_has_a_docstring():
    missing = [name for name in NAMES if not ast.get_docstring(TREES[name])]
    for name in NAMES:
        missing += [
            f"{name}:{node.lineno} {node.name}"
            for node in TREES[name].body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
        ]
    assert not missing, missing


def test_every_listed_name_exists_once():
    wrong = []
    for name in NAMES:
        listed, known = listed_and_known(TREES[name])
        wrong += [f"{name}: {entry}" for entry in listed if entry not in known]
        wrong += [f"{name}: {entry} twice" for entry in set(listed) if listed.count(entry) > 1]
    assert not wrong, wrong


def listed_and_known(tree: ast.Module) -> tuple[list[str], set[str]]:
    """`__all__`, and the names that the module imports or defines."""
    listed: list[str] = []
    known: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            known.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            known.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            known.update(ast.unparse(target) for target in targets)
            if ast.unparse(targets[0]) == "__all__":
                listed = ast.literal_eval(node.value)
    return listed, known


def loaded_by(*arguments: str) -> set[str]:
    """Top-level packages in `sys.modules` after running Python with these arguments."""
    result = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().split(".")[0] for line in lines}


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "import foleyflow"),
        ("-m", "foleyflow", "--help"),
        ("-m", "foleyflow", "generate", "--help"),
        ("-m", "foleyflow", "spot", "--help"),
        ("-m", "foleyflow", "serve", "--help"),
        ("-c", "from foleyflow import Cue, CueSheet"),
    ],
    ids=["import", "help", "generate-help", "spot-help", "serve-help", "cues"],
)
def test_torch_stays_unloaded(arguments):
    loaded = loaded_by(*arguments)
    assert "foleyflow" in loaded
    heavy = {"torch", "librosa", "scipy", "matplotlib", "mujoco", "transformers"}
    assert not loaded & heavy, loaded & heavy


def test_the_check_for_loaded_packages_finds_them():
    assert {"foleyflow", "scipy"} <= loaded_by("-c", "import foleyflow, scipy")


def test_no_file_has_a_meaningless_name():
    meaningless = {"utils", "util", "common", "misc", "helpers", "core", "ext"}
    assert not [name for name in NAMES if set(Path(name).with_suffix("").parts) & meaningless]


def without_docstrings(node: ast.AST) -> ast.AST:
    """A copy of a definition in which no docstring is left."""
    copied = ast.parse(ast.unparse(node))
    for inner in ast.walk(copied):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if ast.get_docstring(inner, clean=False) is not None:
                inner.body = inner.body[1:]
    return copied


def test_no_function_or_class_is_defined_twice():
    found: dict[str, list[str]] = {}
    for name in NAMES:
        for node in TREES[name].body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            definition = without_docstrings(node).body[0]
            if not definition.body:  # a class that only names an error
                continue
            definition.name = "_"
            found.setdefault(ast.dump(definition), []).append(f"{name}:{node.lineno} {node.name}")
    twice = [places for places in found.values() if len(places) > 1]
    assert not twice, twice


# Each of these files holds the constants of one published network, named alike on purpose.
OWN_CONSTANTS = ("foleyflow/judges/networks/", "foleyflow/encoders/")


def test_no_constant_is_defined_twice():
    found: dict[tuple[str, str], list[str]] = {}
    for name in NAMES:
        if name.startswith(OWN_CONSTANTS):
            continue
        for node in TREES[name].body:
            if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
                continue
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            label, value = ast.unparse(target), ast.unparse(node.value)
            if label not in ("__all__", "logger", "log"):
                found.setdefault((label, value), []).append(f"{name}:{node.lineno}")
    twice = {key: places for key, places in found.items() if len(places) > 1}
    assert not twice, twice
