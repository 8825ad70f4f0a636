"""Names of the numbers in a published file, and of the same numbers in our network.

One table a family, read both ways: from the file when it is loaded, and towards the file when a
test writes one as the authors do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

Entry: TypeAlias = tuple[str, tuple[int, ...], str]
"""(key, shape, name of the dtype)."""


@dataclass(frozen=True)
class Row:
    """One way of naming.

    Parameters
    ----------
    published, ours : str
        A whole key, or its beginning where it ends with a dot or is empty. ``{}`` stands for one
        part between dots, the same on both sides.
        ``[q,k,v]`` in ``published`` names the parts that stand one after the other, along the
        first axis, in ours.
    lead : int
        Axes of length 1 that ours has in front and the file has not.
    turned : bool
        True where the file holds a matrix transposed.
    """

    published: str
    ours: str
    lead: int = 0
    turned: bool = False

    def to_ours(self, key: str) -> tuple[str, int, int] | None:
        """(our key, which part of it, of how many), or None where the row is not about the key."""
        for i, name in enumerate(self.parts):
            if (found := _renamed(key, name, self.ours)) is not None:
                return found, i, len(self.parts)
        return None

    def to_published(self, key: str) -> list[str] | None:
        """The keys in the file that hold one of ours, in order; None where it is another row's."""
        found = [_renamed(key, self.ours, name) for name in self.parts]
        return [name for name in found if name is not None] or None

    @property
    def parts(self) -> list[str]:
        """``published``, once for each part that ours joins."""
        inside = re.search(r"\[(.+?)\]", self.published)
        if inside is None:
            return [self.published]
        return [self.published.replace(inside[0], part) for part in inside[1].split(",")]


@dataclass(frozen=True)
class Keys:
    """The table of a family.

    Parameters
    ----------
    rows : tuple of Row or (published, ours)
        The first that fits a key counts; a key that none fits is the same on both sides.
    ignored : tuple of (str, str)
        (shell pattern of published keys that the encoder does not read, reason).
    beside : tuple of str
        Such keys as the file is known to hold, written into the files of tests.
    wrapper : str
        The top-level name under which a training run saved the state dict, such as "model"; what
        else it saved there is left alone. A file without it is taken as the state dict itself.
    copies : str
        What some copies of the file put before every key, such as "model.".
    stray : str
        A part that some files have in their keys and none needs.
    arguments : bool
        True where an ``argparse.Namespace`` lies beside the wrapper.
    """

    rows: tuple[Row | tuple[str, str], ...] = ()
    ignored: tuple[tuple[str, str], ...] = ()
    beside: tuple[str, ...] = ()
    wrapper: str = ""
    copies: str = ""
    stray: str = ""
    arguments: bool = False

    def ignores(self, key: str) -> bool:
        """Whether a published key is one that the encoder does not read."""
        return any(fnmatchcase(key, pattern) for pattern, _ in self.ignored)

    def load(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a file under our keys, in our shapes; ignored ones are left out.

        What is joined of parts that are not all there keeps its published names, which no network
        has, so that filling one names it.
        """
        import torch

        joined: dict[str, dict[int, tuple[str, Tensor]]] = {}
        counts: dict[str, int] = {}
        for key, value in self._unwrapped(state):
            if self.ignores(key):
                continue
            name, part, count, row = self._to_ours(key)
            joined.setdefault(name, {})[part] = key, _to_our_shape(value, row)
            counts[name] = count
        out: dict[str, Tensor] = {}
        for name, parts in joined.items():
            if len(parts) < counts[name]:
                out |= dict(parts.values())
            elif len(parts) == 1:
                out[name] = parts[0][1]
            else:
                out[name] = torch.cat([parts[i][1] for i in range(counts[name])])
        return out

    def publish(self, entries: Iterable[Entry]) -> list[Entry]:
        """Entries of our network as the file names and shapes them."""
        return [one for entry in entries for one in self._published(entry)]

    def published_names(self, key: str) -> list[str]:
        """What the file calls the parts of one of our keys."""
        return [name for name, _, _ in self._published((key, (), ""))]

    def _unwrapped(self, state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        known = (f"{self.wrapper}." if self.wrapper else "", self.copies)
        found = (p for p in known if p and any(key.startswith(p) for key in state))
        prefix = next(found, "")
        for given, value in state.items():
            key = given.replace(self.stray, "") if self.stray else given
            if key.startswith(prefix):
                yield key.removeprefix(prefix), value

    def _rows(self) -> Iterator[Row]:
        for row in self.rows:
            yield row if isinstance(row, Row) else Row(*row)

    def _to_ours(self, key: str) -> tuple[str, int, int, Row]:
        for row in self._rows():
            if (found := row.to_ours(key)) is not None:
                return *found, row
        return key, 0, 1, Row("", "")

    def _published(self, entry: Entry) -> list[Entry]:
        key, shape, dtype = entry
        for row in self._rows():
            names = row.to_published(key)
            if names is None:
                continue
            shape = shape[row.lead :]
            if row.turned:
                shape = shape[::-1]
            if len(names) > 1 and shape:
                shape = (shape[0] // len(names), *shape[1:])
            return [(name, shape, dtype) for name in names]
        return [entry]


def _renamed(key: str, pattern: str, other: str) -> str | None:
    """``key`` as ``other`` names it, if it is what ``pattern`` says."""
    begins = not pattern or pattern.endswith(".")
    parts = [re.escape(part) for part in pattern.split("{}")]
    found = re.match(r"([^.]+)".join(parts) + ("" if begins else "$"), key)
    if found is None:
        return None
    return other.format(*found.groups()) + key[found.end() :]


def _to_our_shape(value: Tensor, row: Row) -> Tensor:
    if row.turned:
        value = value.T.contiguous()
    return value[(None,) * row.lead] if row.lead else value
