"""Imports run one way; the core is pure; errors leave at the boundaries. Read from the source."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.structure import arrows_of_modules, circles, modules, room

ROOT = Path(__file__).parents[1]
# Which rooms a room may import. A new arrow needs a reason that its commit gives, and its place in
# the drawing of docs/architecture.md.
ARROWS = {
    "core": set(),
    "data": set(),
    "plugins": {"core"},
    "raster": {"core", "plugins"},
    "embedders": {"core", "plugins"},
    "providers": {"core", "plugins", "raster"},
    "analysis": {"core", "raster"},
    "export": {"core", "raster"},
    "parity": {"core", "embedders"},
    "pipeline": {"core", "plugins", "raster", "embedders", "providers", "export"},
    "api": {"core", "export", "pipeline"},
    "exports": {"core", "export", "pipeline"},
    "accessors": {"core", "analysis", "export", "pipeline"},
    "georef": {"raster"},
    "the face": {"core", "api", "exports", "accessors"},
    "cli": {
        "core", "embedders", "providers", "analysis", "export", "parity", "pipeline", "api",
        "exports",
    },
    "__main__": {"cli"},
}  # fmt: skip
FLOORS = {
    "core": 0, "data": 0,
    "plugins": 1,
    "raster": 2, "embedders": 2,
    "providers": 3, "analysis": 3, "export": 3, "parity": 3, "georef": 3,
    "pipeline": 4,
    "api": 5, "exports": 5, "accessors": 5,
    "the face": 6, "cli": 6,
    "__main__": 7,
}  # fmt: skip
PURE = {"numpy", "pyproj", "returns", "affine"}
HEAVY = {"torch", "torchvision", "timm", "ee", "rasterio", "rioxarray", "dask", "matplotlib"}
KEYS = "rs_embed.embedders.keys"
# Modules that are themselves imported only once torch is wanted.
TORCH = {"rs_embed.embedders.blocks"}
# Where a Failure becomes an exception -> why there.
EXITS = {
    "rs_embed.api": "the functions",
    "rs_embed.exports": "the functions that write many files",
    "rs_embed.accessors": "the arrays",
    "rs_embed.cli": "the shell",
    "rs_embed.cli.demo": "a script of the shell",
    "rs_embed.core.result": "its definition",
    "rs_embed.core.specs": "validate()",
    "rs_embed.parity": "run(), a function of its own",
    "rs_embed.providers.local": "factories of sources, which raise by contract; sample_scene()",
    "rs_embed.georef": "Embedding.save()",
    "rs_embed.pipeline.encoding": "a batch inside a walk, whose errors `encoded` gathers",
    "rs_embed.pipeline.open_roi": "a block of a lazy array, which xarray asks for",
}


@dataclass(frozen=True)
class Import:
    importer: str
    name: str
    top_level: bool
    typing_only: bool


def imports_of(name, path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for found in names:
            yield Import(name, found, id(node) in top, id(node) in typing_only)


MODULES = dict(modules(ROOT))
IMPORTS = [one for name, path in MODULES.items() for one in imports_of(name, path)]


def module_of(name):
    """The module of ours that an import reaches: itself, or the one that a name is taken from."""
    parts = name.split(".")
    while parts and ".".join(parts) not in MODULES:
        parts.pop()
    return ".".join(parts)


OURS = [one for one in IMPORTS if one.name.split(".")[0] == "rs_embed"]


def test_the_source_was_read():
    assert len(MODULES) > 30
    assert "rs_embed.accessors.dataarray" in MODULES
    assert len(OURS) > 100


def test_every_room_has_a_floor():
    assert {room(module) for module in MODULES} == set(FLOORS) == set(ARROWS)


def test_arrows_of_the_table_run_downward():
    for importer, rooms in ARROWS.items():
        assert all(FLOORS[imported] < FLOORS[importer] for imported in rooms), importer


def test_imports_follow_the_arrows():
    found = {
        (room(one.importer), room(module_of(one.name)))
        for one in OURS
        if not one.typing_only and room(one.importer) != room(module_of(one.name))
    }
    assert found == {(importer, one) for importer, rooms in ARROWS.items() for one in rooms}


def test_no_circle_of_modules():
    """Following imports from a module never leads back to it, inside a room either."""
    assert circles(arrows_of_modules(ROOT)) == []
    assert circles({"a": {"b"}, "b": {"a"}, "c": {"a"}}) == [{"a", "b"}]


def test_providers_and_embedders_never_import_each_other():
    for one in OURS:
        pair = {room(one.importer), room(module_of(one.name))}
        assert pair != {"providers", "embedders"}, one


def test_nothing_inside_imports_the_api():
    users = {one.importer for one in OURS if module_of(one.name) == "rs_embed.api"}
    assert {room(user) for user in users} <= {"the face", "cli"}


def test_the_core_is_pure():
    import sys

    for one in IMPORTS:
        if room(one.importer) != "core" or one.typing_only:
            continue
        package = one.name.split(".")[0]
        if (one.importer, package) == ("rs_embed.core.embedding", "xarray"):
            assert not one.top_level  # Embedding.to_xarray, as it runs
            continue
        assert package in PURE | set(sys.stdlib_module_names) | {"rs_embed"}, one
    effects = {"socket", "subprocess", "urllib", "http", "tempfile", "shutil", "os"}
    for one in IMPORTS:
        if room(one.importer) == "core":
            assert one.name.split(".")[0] not in effects, one


def families():
    """The files of model families: those that hold a ModelSpec."""
    for name, path in MODULES.items():
        if ".families." in name and "ModelSpec(" in path.read_text(encoding="utf-8"):
            yield name


def test_a_family_file_imports_shared_parts_and_core_alone():
    found = list(families())
    assert "rs_embed.embedders.families.mosaiks" in found
    for family in found:
        for one in OURS:
            if one.importer != family:
                continue
            target = module_of(one.name)
            own = target.startswith(f"{family}_")  # tables that would not fit the family's file
            assert room(target) == "core" or target in {*TORCH, KEYS} or own or (
                one.name.startswith(f"{family}_")
            ), one  # fmt: skip


def test_heavy_libraries_are_imported_where_they_are_needed():
    for one in IMPORTS:
        if one.importer in TORCH or one.typing_only or room(one.importer) == "parity":
            continue
        if one.name.split(".")[0] in HEAVY:
            assert not one.top_level, one


def test_an_outcome_is_unwrapped_at_the_boundaries_alone():
    users = {one.importer for one in OURS if one.name.endswith(".unwrap_or_raise")}
    allowed = {
        user for user in users
        if any(user == place or user.startswith(f"{place}.") for place in EXITS)
    }  # fmt: skip
    assert users - allowed == set()


def test_no_other_way_out_of_an_outcome():
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("value_or", "lash"), name
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("returns"):
                taken = {alias.name for alias in node.names}
                assert taken <= {"Failure", "Result", "Success", "safe"}, name
            if isinstance(node, ast.Raise):
                raised = {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}
                assert "failure" not in raised or name == "rs_embed.core.result", name


def is_outcome(annotation):
    return annotation is not None and ast.unparse(annotation).startswith("Outcome[")


class Outcomes:
    """What of the source is known to be an Outcome, read from its annotations."""

    def __init__(self):
        self.trees = {
            name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()
        }
        self.functions = {
            (name, node.name): is_outcome(node.returns)
            for name, tree in self.trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)
        }
        # Of classes, the methods that return one and the fields that hold one.
        self.members = {
            node.name: self._of_class(node)
            for tree in self.trees.values()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
        }

    @staticmethod
    def _of_class(node):
        found = {}
        for each in node.body:
            if isinstance(each, ast.FunctionDef):
                found[each.name] = is_outcome(each.returns)
            elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                found[each.target.id] = is_outcome(each.annotation)
        return found

    def where(self, module, name):
        """(module, name) of what a module calls ``name``: its own, or what it imported."""
        if (module, name) in self.functions:
            return module, name
        for node in ast.walk(self.trees[module]):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if name == (alias.asname or alias.name):
                        return self.where(node.module, alias.name)
        return module, name

    def holds(self, module, node, kinds):
        """Whether an expression is an Outcome: a call or field of ours, or a chain from one."""
        call = isinstance(node, ast.Call)
        target = node.func if call else node
        if isinstance(target, ast.Name):
            return call and self.functions.get(self.where(module, target.id), False)
        if not isinstance(target, ast.Attribute):
            return False
        if call and target.attr in ("map", "bind", "alt"):
            return self.holds(module, target.value, kinds)
        kind = kinds.get(getattr(target.value, "id", None))
        return self.members.get(kind, {}).get(target.attr, False)

    def kinds(self, function):
        """The class of each argument of a function, by its annotation."""
        arguments = [*function.args.args, *function.args.kwonlyargs]
        return {one.arg: ast.unparse(one.annotation) for one in arguments if one.annotation}


def do_sources(tree):
    """(enclosing function, what stands behind an ``in`` of a do-expression in it)."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "do":
                (expression,) = node.args
                assert isinstance(expression, ast.GeneratorExp), ast.unparse(node)
                for each in expression.generators:
                    assert not each.ifs, ast.unparse(each)
                    yield function, each.iter


def test_a_do_expression_walks_over_outcomes_alone():
    """Anything else that can be iterated passes the type checker and gives its first element."""
    known = Outcomes()
    found = [
        (name, ast.unparse(one), known.holds(name, one, known.kinds(function)))
        for name, tree in known.trees.items()
        for function, one in do_sources(tree)
    ]
    assert [(name, text) for name, text, fine in found if not fine] == []
    assert len(found) > 20


@pytest.mark.parametrize(
    "trap",
    ["[1, 2]", "plan.sources()", "'text'", "(Success(1),)", "sorted(f(x))", "windows(tiled)",
     "found.obj", "encoded(loaded, [tiled])[0]", "encoded(loaded, [tiled])", "south_up",
     "plan.map(f)"],
)  # fmt: skip
def test_the_trap_is_seen(trap):
    text = f"def f(found: ArrayValidation, plan: ArrayPlan):\n Result.do(a for _ in {trap})"
    known = Outcomes()
    ((function, node),) = do_sources(ast.parse(text))
    assert not known.holds("rs_embed.pipeline.arrays", node, known.kinds(function))


@pytest.mark.parametrize(
    "good", ["find_model(x)", "open_input(a, b).map(f)", "found.raster", "embed_array(1, 2, 3)"]
)
def test_an_outcome_is_seen(good):
    text = f"def f(found: ArrayValidation):\n Result.do(a for _ in {good})"
    known = Outcomes()
    ((function, node),) = do_sources(ast.parse(text))
    assert known.holds("rs_embed.pipeline.arrays", node, known.kinds(function))


def test_no_environment_variable_changes_a_result():
    for name, path in MODULES.items():
        if room(name) in ("core", "pipeline", "raster"):
            text = path.read_text(encoding="utf-8")
            assert "environ" not in text, name
            assert "getenv" not in text, name


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_file_fits_the_mind(name):
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) < 450


def test_every_module_says_what_it_is():
    for name, path in MODULES.items():
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), name
