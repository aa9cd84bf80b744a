"""The import rules of the house, read from the sources."""

import ast
from pathlib import Path

import pytest

APP = Path(__file__).resolve().parent.parent / "app"
MODULES = {
    ".".join(("app", *path.relative_to(APP).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in APP.rglob("*.py")
}


def imports(path, lazy=True):
    """Modules a file imports, also inside functions unless lazy is False; not for types alone."""
    tree = ast.parse(path.read_text("utf-8"))
    found = set()
    todo = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
        elif not lazy and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        todo.extend(ast.iter_child_nodes(node))
    return found


def roots(path, **kwargs):
    return {name.split(".")[0] for name in imports(path, **kwargs)}


def is_in(module, *rooms):
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


@pytest.mark.parametrize("module", MODULES)
def test_only_the_whisper_family_imports_vllm(module):
    assert is_in(module, "app.models.whisper_vllm") or "vllm" not in roots(MODULES[module])


@pytest.mark.parametrize("module", MODULES)
def test_only_the_quantizer_imports_llmcompressor_and_transformers(module):
    heavy = {"llmcompressor", "transformers", "auto_round", "compressed_tensors"}
    assert is_in(module, "app.quantizer") or not roots(MODULES[module]) & heavy


@pytest.mark.parametrize("module", MODULES)
def test_nothing_below_the_api_knows_the_web_framework(module):
    allowed = is_in(module, "app.api", "app.main")
    assert allowed or not roots(MODULES[module]) & {"fastapi", "starlette"}


# What a room may import, beside itself and the leaves. Wiring (main, cli, commands) imports all.
LEAVES = {"app.errors", "app.settings", "app.metrics", "app.process", "app.replay", "app.files"}
LEAVES |= {"app.environment", "app.tracing", "app.languages", "app.engine_metrics"}
LEAVES |= {"app.folders", "app.tensor_files", "app.model_names", "app.json_text"}
LEAVES |= {"app.background_settings", "app.background_metrics"}
ROOMS = {
    "app.api": {"transcription", "serving", "quantization", "jobs", "models.base", "recordings",
                "checkpoints.recipe", "checkpoints.tuned", "audio.recording", "background",
                "outbound"},
    "app.background": {"transcription", "serving", "admission", "jobs", "models.base",
                       "audio.recording", "outbound"},
    "app.outbound": set(),
    "app.transcription": {"serving", "admission", "speech", "audio", "models.base"},
    "app.serving": {"models", "checkpoints", "admission", "speech", "audio", "sources"},
    "app.admission": set(),
    "app.speech": {"audio"},
    "app.audio": set(),
    "app.models": {"audio", "speech"},
    "app.recordings": {"audio"},
    "app.sources": {"models"},
    "app.checkpoints": {"recordings", "models", "sources"},
    "app.quantization": {"serving", "checkpoints", "recordings", "jobs", "models", "audio",
                         "speech", "transcription", "sources", "tuning"},
    "app.quantizer": {"recordings", "checkpoints", "models", "audio", "sources"},
    "app.jobs": set(),
    "app.tuning": {"serving", "checkpoints", "recordings", "models", "audio", "speech"},
}  # fmt: skip
WIRING = {"app", "app.main", "app.cli", "app.__main__", "app.client"}


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_only_what_lies_below_it(module):
    ours = {name for name in imports(MODULES[module]) if name in MODULES} - {"app"}
    if module in WIRING or is_in(module, "app.commands"):
        return
    if is_in(module, *LEAVES):
        assert all(is_in(name, *LEAVES) for name in ours)
        return
    room = next(name for name in ROOMS if is_in(module, name))
    below = [room, *(f"app.{name}" for name in ROOMS[room])]
    assert not {name for name in ours if not is_in(name, *LEAVES, *below)}


@pytest.mark.parametrize("module", MODULES)
def test_only_the_wiring_imports_the_api(module):
    names = imports(MODULES[module]) & MODULES.keys()
    assert is_in(module, "app.api", "app.main") or not any(is_in(n, "app.api") for n in names)


@pytest.mark.parametrize("module", [name for name in MODULES if is_in(name, "app.audio")])
def test_a_process_that_decodes_loads_little(module):
    ours = {name for name in imports(MODULES[module]) if name.startswith("app.")}
    assert {n for n in ours if not n.startswith("app.audio")} <= {"app.errors", "app.process"}


def test_nothing_imports_in_circles():
    graph = {m: imports(p) & MODULES.keys() - {m} for m, p in MODULES.items()}
    done, path = set(), []

    def visit(module):
        assert module not in path, " -> ".join([*path, module])
        if module in done:
            return
        path.append(module)
        for other in sorted(graph[module]):
            visit(other)
        path.pop()
        done.add(module)

    for module in graph:
        visit(module)


def test_the_app_imports_neither_torch_nor_vllm_before_it_listens():
    """What `marlinscribe serve` imports at module level, all the way down."""
    seen, todo = set(), ["app.cli"]
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        heavy = roots(MODULES[module], lazy=False) & {"torch", "vllm", "librosa", "transformers"}
        assert not heavy, module
        todo.extend(imports(MODULES[module], lazy=False) & MODULES.keys())


def test_the_service_imports_torch_for_files_of_torchs_own_alone_and_never_vllm():
    """All that the process behind HTTP may ever import, in functions too. The engine's own process
    begins with engine_process, the quantizer's with app.quantizer."""
    engine, found = "app.models.whisper_vllm.engine_process", {}
    seen, todo = {engine}, ["app.main", "app.commands.serve"]
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        heavy = roots(MODULES[module]) & {"torch", "vllm", "librosa", "transformers", "scipy"}
        if heavy:
            found[module] = heavy
        todo.extend(imports(MODULES[module]) & MODULES.keys())
    assert found == {
        "app.sources.openai": {"torch"},
        "app.sources.identity": {"torch"},
        "app.speech.quiet": {"librosa"},
    }
