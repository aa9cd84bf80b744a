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


def in_room(*rooms):
    return [m for m in MODULES if any(m == r or m.startswith(f"{r}.") for r in rooms)]


@pytest.mark.parametrize("module", MODULES)
def test_only_the_engine_and_its_adapter_import_vllm(module):
    allowed = module in {"app.asr.engine", "app.asr.rules_vllm"}
    assert allowed or "vllm" not in roots(MODULES[module])


@pytest.mark.parametrize("module", MODULES)
def test_only_the_quantizers_process_imports_llmcompressor_and_transformers(module):
    names = "comparison emulation methods quantizer samples smoothing traceable tuning"
    child = {f"app.checkpoints.{name}" for name in names.split()}
    assert module in child or not roots(MODULES[module]) & {"llmcompressor", "transformers"}


@pytest.mark.parametrize(
    "module", in_room("app.admission", "app.audio", "app.asr", "app.checkpoints", "app.jobs")
)
def test_the_rooms_behind_http_know_nothing_of_it(module):
    names = imports(MODULES[module])
    assert not any(n.split(".")[0] in {"fastapi", "starlette"} for n in names)
    assert not any(n.startswith(("app.api", "app.main")) for n in names)


@pytest.mark.parametrize("module", in_room("app.api"))
def test_http_reaches_recognition_through_the_protocol_alone(module):
    names = imports(MODULES[module])
    ours = {n for n in names if n in MODULES and not n.startswith("app.api")}
    plain = {
        "app.errors",
        "app.settings",
        "app.metrics",
        "app.startup",
        "app.tracing",
        "app.replay",
    }
    plain |= {n for n in MODULES if n.startswith(("app.jobs", "app.admission"))}
    plain |= {f"app.checkpoints.{types}" for types in ("order", "proof", "recipe", "scripts")}
    recognition = {"app.asr.engine", "app.asr.decoding", "app.asr.rules"}
    assert {n for n in ours if not n.startswith(("app.asr", "app.audio"))} <= plain | {"app"}
    assert not names & recognition


@pytest.mark.parametrize("module", in_room("app.serving", "app.checkpoints", "app.jobs"))
def test_what_serves_and_what_is_made_know_nothing_of_the_jobs_that_make_it(module):
    assert not any(name.startswith("app.quantization") for name in imports(MODULES[module]))


LEAVES = {
    "app.errors": set(),
    "app.settings": set(),
    "app.metrics": set(),
    "app.process": set(),
    "app.replay": set(),
    "app.audio.waveform": set(),
    "app.checkpoints.recipe": set(),
    "app.audio.windows": {"app.audio.waveform"},
    "app.asr.transcript": {"app.audio.waveform"},
}


@pytest.mark.parametrize("module", LEAVES)
def test_leaves_import_nothing_of_the_house_but_plain_types(module):
    ours = {n for n in imports(MODULES[module]) if n.startswith("app.") and n in MODULES}
    assert ours <= LEAVES[module]


@pytest.mark.parametrize("module", in_room("app.audio"))
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
