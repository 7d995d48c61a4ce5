"""The house's shape: who may import whom, and what stays out of the way until it is needed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = (
    "units",
    "errors",
    "resources",
    "files",
    "plain_yaml",
    "plain_json",
    "architecture",
    "spec",
    "catalog",
    "names",
    "estimate",
    "candidates",
    "advise",
    "solve",
    "plan",
    "report",
    "explain",
    "export",
    "accuracy",
    "replay",
    "doctor",
    "cli",
)
"""Rooms from the ground up: a room imports only from rooms before it."""
HEAVY = ("numpy", "pandas", "ortools", "weasyprint", "pydantic", "yaml", "jinja2", "torch", "transformers")


def modules(folder: str) -> list[Path]:
    found = sorted(p for p in (ROOT / folder).rglob("*.py") if "_data" not in p.parts)
    assert found, f"no module found under {folder}"
    return found


def imports(path: Path, *, at_start_only: bool = False) -> set[str]:
    """Full names of the modules that a file imports, with `from a import b` as both `a` and `a.b`."""
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_start_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import; write the full name"
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def room(name: str) -> str | None:
    """The room of a module's full name, None for anything that is not a room of the planner."""
    parts = name.split(".")
    return parts[1] if parts[0] == "planner" and len(parts) > 1 and parts[1] in ORDER else None


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_every_module_lives_in_a_known_room() -> None:
    strays = [str(p) for p in modules("planner") if module_name(p) != "planner" and room(module_name(p)) is None]
    assert not strays


def test_a_room_imports_only_from_rooms_before_it() -> None:
    upward = []
    for path in modules("planner"):
        own = room(module_name(path))
        if own is None:
            continue
        for name in imports(path):
            other = room(name)
            if other is not None and ORDER.index(other) > ORDER.index(own):
                upward.append(f"{module_name(path)} imports {name}")
    assert not upward


@pytest.mark.parametrize(
    ("folder", "strangers"),
    [
        ("planner/solve", {"architecture", "spec", "catalog", "names", "estimate", "candidates"}),
        ("planner/architecture", {"catalog", "estimate"}),
        ("planner/report", {"architecture", "spec", "catalog", "names", "candidates", "solve"}),
        ("planner/explain", {"spec", "catalog", "names", "candidates", "solve"}),
        ("planner/export", {"architecture", "spec", "catalog", "names", "candidates", "solve", "report"}),
    ],
)
def test_a_room_does_not_know_its_strangers(folder: str, strangers: set[str]) -> None:
    known = [f"{module_name(p)} imports {n}" for p in modules(folder) for n in imports(p) if room(n) in strangers]
    assert not known


@pytest.mark.parametrize("folder", ["planner/report", "planner/explain", "planner/export"])
def test_reports_take_from_the_estimate_its_document_alone(folder: str) -> None:
    taken = {n for p in modules(folder) for n in imports(p) if n.startswith("planner.estimate.")}
    assert {n.split(".")[2] for n in taken} <= {"document"}


def loaded_with(module: str) -> set[str]:
    """Names of all modules that importing one brings along."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_the_audit_brings_along_neither_solver_nor_candidates() -> None:
    named = imports(ROOT / "planner/plan/audit.py")
    assert not {n for n in named if room(n) in ("solve", "candidates")}
    assert not {n for n in loaded_with("planner.plan.audit") if room(n) in ("solve", "candidates")}


@pytest.mark.parametrize("module", ["planner.report", "planner.report.text", "planner.explain", "planner.export.write"])
def test_a_report_brings_along_neither_catalog_nor_solver(module: str) -> None:
    strangers = ("spec", "catalog", "names", "candidates", "solve")
    assert not {n for n in loaded_with(module) if room(n) in strangers}


def test_the_replay_imports_nothing_of_the_planner() -> None:
    assert not [n for p in modules("validation") for n in imports(p) if n.split(".")[0] == "planner"]


def test_only_the_units_module_writes_powers() -> None:
    """A conversion multiplies or divides by a power of two or ten, or makes bits of bytes; a bound does neither."""
    found = [
        f"{module_name(path)}:{node.lineno}: {ast.unparse(node)}"
        for path in modules("planner")
        if module_name(path) != "planner.units"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.BinOp) and converts(node)
    ]
    assert not found


POWERS = {10**6, 10**9, 10**12, 2**10, 2**20, 2**30, 2**40, 1e-6, 1e-9}


def converts(node: ast.BinOp) -> bool:
    if isinstance(node.op, ast.Div | ast.FloorDiv) and constant(node.right) == 8:
        return True
    return isinstance(node.op, ast.Mult | ast.Div | ast.FloorDiv) and bool(
        {constant(node.left), constant(node.right)} & POWERS
    )


def constant(node: ast.expr) -> float | None:
    """The number that an expression of constants stands for."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        base, exponent = constant(node.left), constant(node.right)
        return None if base is None or exponent is None or abs(exponent) > 64 else base**exponent
    return None


def test_starting_the_command_loads_nothing_heavy() -> None:
    assert not loaded_with("planner.cli.main") & set(HEAVY)


@pytest.mark.parametrize("heavy", ["ortools", "weasyprint", "torch", "transformers", "rich"])
def test_heavy_libraries_are_imported_inside_functions(heavy: str) -> None:
    """numpy is what estimates are made of, and ortools what solve/ is; the rest waits until a command needs it."""
    at_start = [
        module_name(p)
        for p in modules("planner")
        for n in imports(p, at_start_only=True)
        if n.split(".")[0] == heavy and not (heavy == "ortools" and room(module_name(p)) == "solve")
    ]
    assert not at_start


def test_the_product_names_no_machine_and_no_package_host() -> None:
    """What works only where it was written does not belong in it."""
    hosts = re.compile("|".join(["pypi" + r"\.org", "python" + "hosted", r"/home/\w", "registry" + r"\.npm"]))
    files = [p for p in tracked_text_files() if hosts.search(p.read_text(encoding="utf-8", errors="replace"))]
    assert not files


def tracked_text_files() -> list[Path]:
    folders = ("planner", "validation", "catalogs", "templates", "plans", "tests")
    found = [p for f in folders for p in (ROOT / f).rglob("*") if p.suffix in {".py", ".yaml", ".j2", ".css", ".md"}]
    found += [p for p in ROOT.iterdir() if p.is_file() and p.suffix in {".md", ".toml", ".txt"}]
    assert len(found) > 20
    return found
