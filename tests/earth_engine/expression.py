"""The JSON graph of an expression, decoded and evaluated with bounded depth."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .elements import Function
from .errors import ServiceError

MAX_NESTING = 100
"""How deep the JSON of an expression may be nested."""
MAX_DEPTH = 2000
"""How deep the evaluation may go once references are followed."""

Scope = Mapping[str, Any]
Invoke = Callable[[str, dict[str, Any]], Any]


def children(node: object) -> Iterator[object]:
    """What a JSON value directly contains."""
    if isinstance(node, dict):
        yield from node.values()
    elif isinstance(node, list):
        yield from node


def check_nesting(document: object) -> None:
    """Refuse JSON nested deeper than the service allows, without recursion."""
    level, depth = [document], 0
    while level:
        depth += 1
        if depth > MAX_NESTING:
            raise ServiceError(
                "Invalid JSON payload received. Message too deep. Max recursion depth reached."
            )
        level = [c for node in level for c in children(node) if isinstance(c, (dict, list))]


def function_names(document: object) -> list[str]:
    """The names of all functions an expression calls, sorted; for the request log."""
    names, pending = set(), [document]
    while pending:
        node = pending.pop()
        if isinstance(node, dict) and isinstance(node.get("functionName"), str):
            names.add(node["functionName"])
        pending.extend(children(node))
    return sorted(names)


class Expression:
    """One graph under evaluation; values that depend on no argument are computed once."""

    def __init__(self, document: Mapping[str, Any], invoke: Invoke) -> None:
        values, result = document.get("values"), document.get("result")
        if not isinstance(values, dict) or not isinstance(result, str) or result not in values:
            raise ServiceError("Invalid expression: 'result' does not name an entry of 'values'.")
        self._values: dict[str, Any] = values
        self._result = result
        self._invoke = invoke
        self._done: dict[str, Any] = {}
        self._free: dict[str, frozenset[str]] = {}
        self._depth = 0

    def value(self) -> Any:
        """The value of the whole expression."""
        return self._reference(self._result, {})

    def _reference(self, key: str, scope: Scope) -> Any:
        if key in self._done:
            return self._done[key]
        if key not in self._values:
            raise ServiceError(f"Invalid expression: reference to unknown value '{key}'.")
        value = self._node(self._values[key], scope)
        if not self._arguments_of(key):
            self._done[key] = value
        return value

    def _node(self, node: Mapping[str, Any], scope: Scope) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ServiceError("Invalid expression: the computation is nested too deeply.")
        try:
            if not isinstance(node, dict) or len(node) != 1:
                raise ServiceError("Invalid expression: a value must have exactly one form.")
            ((form, content),) = node.items()
            return self._form(form, content, scope)
        finally:
            self._depth -= 1

    def _form(self, form: str, content: Any, scope: Scope) -> Any:
        match form:
            case "constantValue":
                return content
            case "integerValue":
                return int(content)
            case "bytesValue":
                return base64.b64decode(content)
            case "valueReference":
                return self._reference(content, scope)
            case "argumentReference":
                if content not in scope:
                    raise ServiceError(f"Invalid expression: unknown argument '{content}'.")
                return scope[content]
            case "arrayValue":
                return [self._node(item, scope) for item in content.get("values", [])]
            case "dictionaryValue":
                return {k: self._node(v, scope) for k, v in content.get("values", {}).items()}
            case "functionDefinitionValue":
                return self._function(content, scope)
            case "functionInvocationValue":
                return self._invocation(content, scope)
        raise ServiceError(f"Invalid expression: unknown value form '{form}'.")

    def _function(self, content: Mapping[str, Any], scope: Scope) -> Function:
        names = tuple(content.get("argumentNames", ()))

        def call(*values: Any) -> Any:
            given = dict(zip(names, values, strict=False))  # null arguments may be left out
            return self._reference(content["body"], {**scope, **given})

        return Function(names, call)

    def _invocation(self, content: Mapping[str, Any], scope: Scope) -> Any:
        arguments = {k: self._node(v, scope) for k, v in content.get("arguments", {}).items()}
        if "functionName" in content:
            return self._invoke(content["functionName"], arguments)
        function = self._reference(content["functionReference"], scope)
        return function.call(*(arguments[name] for name in function.names))

    def _arguments_of(self, key: str) -> frozenset[str]:
        """The arguments a value depends on that it does not bind itself."""
        if key not in self._free:
            self._free[key] = frozenset()  # a cycle cannot be evaluated anyway
            self._free[key] = frozenset(self._free_in(self._values.get(key)))
        return self._free[key]

    def _free_in(self, node: object) -> set[str]:
        free: set[str] = set()
        if isinstance(node, dict):
            if "constantValue" in node:
                return free
            if isinstance(node.get("argumentReference"), str):
                free.add(node["argumentReference"])
            for name in ("valueReference", "functionReference"):
                if isinstance(node.get(name), str):
                    free |= self._arguments_of(node[name])
            if "functionDefinitionValue" in node:
                definition = node["functionDefinitionValue"]
                bound = set(definition.get("argumentNames", ()))
                return free | (self._arguments_of(definition["body"]) - bound)
        for child in children(node):
            free |= self._free_in(child)
        return free
