"""Which client gets what from a real server: client x format x stream, as a table.

    python -m tests.contract.matrix [--write]

Each client is a program of its own that reads cases and writes outcomes; checks are made here,
the same for all. What clients of other servers get is a table of its own (others.py). --write puts
both into docs/compatibility.md. Ends with status 1 where a client does not get what it must.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.server import Server
from tests.contract import others
from tests.contract.cases import CASES, WHILE_STARTING, Case

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TOOLS = ROOT / ".contract"  # made by `make compatibility`
PAGE = ROOT / "docs" / "compatibility.md"
MATRIX, OTHERS = "matrix", "other clients"  # between <!-- … --> and <!-- end of … -->

NODE = str(shutil.which("node"))
APART = str(TOOLS / "venv/bin/python")  # LiteLLM wants an older openai than the service tests with
CLIENTS = {
    "openai (Python)": [sys.executable, "clients/openai_sync.py"],
    "openai (Python, async)": [sys.executable, "clients/openai_async.py"],
    "openai (Node)": [NODE, "clients/openai_node.mjs", str(TOOLS / "package.json")],
    "LiteLLM": [APART, "clients/litellm_sync.py"],
    "curl": [sys.executable, "clients/curl.py"],
}
OTHER_CLIENTS = {
    others.REQUESTS: [APART],
    others.CURL: [sys.executable],
    others.AZURE: [sys.executable],
    others.SDK: [sys.executable],
    others.LANGCHAIN: [sys.executable],
    others.GROQ: [APART],
}
# What a client cannot ask or cannot show, whatever the server does.
BEYOND = {
    "LiteLLM": {
        "stream", "stream, text", "stream, logprobs", "stream, verbose_json",
        "stream, verbose_json, word times",
        "translations, verbose_json",
        "json, logprobs",  # it drops them from the answer
        "error: word times in json",  # it asks for verbose_json where its caller asks for json
    },
    "curl": {"retries while the server starts"},
}  # fmt: skip


def main() -> int:
    with tempfile.TemporaryDirectory() as cache:
        # 0.0.0.0: on a loopback address any model's name is taken, and one case asks for a 404.
        with Server(cache_dir=cache, api_keys="first,second", host="0.0.0.0") as server:
            table = {name: run(name, server.url, CASES) for name in CLIENTS}
            rows = others.seen(server.url, other_commands(), Path(cache), "first")
        # A start with the checkpoint in the cache: what a client meets when the service restarts.
        with ThreadPoolExecutor() as pool:
            server = Server(cache_dir=cache, api_keys="first,second")
            server.wait_for("resolving", "loading", "warming")
            asked = {n: pool.submit(run, n, server.url, [WHILE_STARTING]) for n in CLIENTS}
            for name, future in asked.items():
                table[name] |= future.result()
            server.stop()
    texts = {MATRIX: render(table), OTHERS: others.render(rows)}
    print("\n\n".join(texts.values()))
    if "--write" in sys.argv:
        write(texts)
    faults = [fault for column in table.values() for fault in column.values()]
    for other, fault in rows.items():
        if fault:
            print(f"{other.program}, {other.asks}: {fault}", file=sys.stderr)
    return any(faults) or any(rows.values())


def write(texts: dict[str, str]) -> None:
    """Put tables into the page, each in its place."""
    page = PAGE.read_text("utf-8")
    for name, text in texts.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        page = f"{page.split(begin)[0]}{begin}\n{text}\n{end}{page.split(end)[1]}"
    PAGE.write_text(page, "utf-8")


def other_commands() -> dict[str, list[str]]:
    folder = HERE / "clients"
    return {name: [*command, str(folder / name)] for name, command in OTHER_CLIENTS.items()}


def run(client: str, url: str, cases: list[Case]) -> dict[str, str | None]:
    """Case to its fault, "" where there is none; None where the client cannot ask."""
    able = [case for case in cases if case.name not in BEYOND.get(client, ())]
    sent = [
        {"url": f"{url}/v1", "task": case.task, "file": case.file, "key": case.key,
         "fields": case.fields, "retries": case.retries}
        for case in able
    ]  # fmt: skip
    done = subprocess.run(
        CLIENTS[client], input=json.dumps(sent), capture_output=True, text=True, cwd=HERE
    )
    if done.returncode:
        raise SystemExit(f"{client} failed:\n{done.stderr[-4000:]}")
    outcomes = json.loads(done.stdout.splitlines()[-1])
    faults: dict[str, str | None] = {case.name: None for case in cases}
    for case, outcome in zip(able, outcomes, strict=True):
        faults[case.name] = fault(case, outcome)
        if faults[case.name]:
            print(f"{client}, {case.name}: {faults[case.name]}", file=sys.stderr)
    return faults


def fault(case: Case, outcome: dict) -> str:
    try:
        case.check(outcome)
    except (AssertionError, LookupError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"[:500]
    return ""


def render(table: dict[str, dict[str, str | None]]) -> str:
    content_hashes = {None: "", "": "yes"}
    lines = ["| | " + " | ".join(table) + " |", "| --- |" + " --- |" * len(table)]
    for case in [*CASES, WHILE_STARTING]:
        cells = [content_hashes.get(table[client][case.name], "**no**") for client in table]
        lines.append(f"| {case.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
