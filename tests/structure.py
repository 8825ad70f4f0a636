"""The rooms of the package, their floors, arrows and circles: ``python -m tests.structure [DIR]``.

A room is a module or folder of ``rs_embed/``, or the folder ``accessors/``; an arrow is an import
from one room of another, typing apart; a room stands one floor above the highest that it imports.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path


def modules(root: Path) -> Iterator[tuple[str, Path]]:
    """(dotted name, path) of every module that is shipped."""
    for folder in (root / "rs_embed", root / "accessors"):
        for path in sorted(folder.rglob("*.py")):
            if folder.name == "rs_embed" and "accessors" in path.relative_to(folder).parts:
                continue  # the link; the folder itself is read
            parts = list(path.relative_to(root).with_suffix("").parts)
            parts = parts if folder.name == "rs_embed" else ["rs_embed", *parts]
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def arrows_of_modules(root: Path) -> dict[str, set[str]]:
    """Each module and those of ours that it imports."""
    known = dict(modules(root))
    found: dict[str, set[str]] = {name: set() for name in known}
    for name, path in known.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        typing_only = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            if id(node) not in typing_only:
                found[name] |= {_owner(one, known) for one in names} - {"", name}
    return found


def _owner(name: str, known: dict[str, Path]) -> str:
    parts = name.split(".")
    while parts and ".".join(parts) not in known:
        parts.pop()
    return ".".join(parts)


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "the face"


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Groups that lead back to themselves."""

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        todo = [start]
        while todo:
            for one in arrows.get(todo.pop(), set()) - seen:
                seen.add(one)
                todo.append(one)
        return seen

    reached = {name: reach(name) for name in arrows}
    groups = {
        frozenset(b for b in arrows if b in reached[a] and a in reached[b])
        for a in arrows
        if a in reached[a]
    }
    return [set(group) for group in sorted(groups, key=sorted)]


def main() -> None:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]
    inner = arrows_of_modules(root)
    rooms: dict[str, set[str]] = {room(name): set() for name in inner}
    for name, targets in inner.items():
        rooms[room(name)] |= {room(one) for one in targets} - {room(name)}
    together = circles(rooms)  # rooms of one circle stand on one floor
    floors: dict[str, int] = {}
    for _ in rooms:
        for name in rooms:
            ring = next((group for group in together if name in group), {name})
            outside = {one for other in ring for one in rooms[other]} - ring
            floors[name] = 1 + max((floors.get(one, 0) for one in outside), default=0)
    loops = circles(inner)
    for name in sorted(rooms, key=lambda one: (-floors[one], one)):
        print(f"floor {floors[name]:2d}  {name}: {', '.join(sorted(rooms[name])) or 'nothing'}")
    print(f"{len(rooms)} rooms, {max(floors.values())} floors, "
          f"{sum(map(len, rooms.values()))} arrows, {len(loops)} circles of modules")  # fmt: skip
    for loop in loops:
        print("circle:", ", ".join(sorted(loop)))


if __name__ == "__main__":
    main()
