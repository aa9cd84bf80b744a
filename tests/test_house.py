"""The style of the house, as far as it can be counted."""

import ast
import statistics
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
Function = ast.FunctionDef | ast.AsyncFunctionDef

LONGEST_MODULE = 300  # lines
# Lines of a function, signature and docstring among them, nested functions within and again alone.
MEDIAN, P90 = 6, 20
SHORT = 12  # lines: up to here a function's name may be all that is said of it


@cache
def trees(folder):
    """Every module of a folder, parsed, by its path from the root."""
    files = sorted((ROOT / folder).rglob("*.py"))
    return {str(file.relative_to(ROOT)): ast.parse(file.read_text("utf-8")) for file in files}


def lines(node):
    return node.end_lineno - node.lineno + 1


def lengths(folder):
    """Of all functions, in order."""
    nodes = (node for tree in trees(folder).values() for node in ast.walk(tree))
    return sorted(lines(node) for node in nodes if isinstance(node, Function))


@pytest.mark.parametrize("folder", ["app", "harness", "tests"])
def test_functions_are_short(folder):
    assert statistics.median(lengths(folder)) <= MEDIAN


@pytest.mark.parametrize("folder", ["app", "bench", "harness", "tests"])
def test_long_functions_are_few(folder):
    several = lengths(folder)
    assert several[int(0.9 * len(several))] <= P90


@pytest.mark.parametrize("module", trees("app"))
def test_a_module_is_read_in_one_go(module):
    assert len((ROOT / module).read_text("utf-8").splitlines()) <= LONGEST_MODULE


@pytest.mark.parametrize("folder", ["app", "bench", "demo", "deploy", "harness"])
def test_every_module_says_what_it_is_for(folder):
    assert [name for name, tree in trees(folder).items() if tree.body and not said(tree)] == []


def said(node):
    return ast.get_docstring(node) or ""


def test_every_public_function_that_is_not_short_says_what_it_does():
    mute = [
        f"{module}: {node.name}"
        for module, tree in trees("app").items()
        for node in tree.body
        if isinstance(node, Function) and not node.name.startswith("_")
        if lines(node) > SHORT and not said(node)
    ]
    assert mute == []
