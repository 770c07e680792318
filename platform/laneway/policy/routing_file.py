"""Reading ``routing.py``: the team's own Python file, run under a private name.

Whatever it does wrong becomes a line with its place. Calls of ``Route`` that Python would refuse
(a misspelt keyword) are reported and left out before the file runs, so that one mistake does not
hide the others.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from laneway.policy.problems import at, did_you_mean, shortened
from laneway.policy.route import Route

if TYPE_CHECKING:
    from pathlib import Path

#: The name under which the file is a module. Nobody imports it; ``routing`` stays free for others.
MODULE_NAME: Final = "laneway_policy_routing"
#: Where a task goes that nothing names, if routing.py does not say ``DEFAULT_QUEUE``.
DEFAULT_QUEUE: Final = "default"

_KEYWORDS: Final = ("queue", "priority", "team")
_NAMES: Final = ("ROUTES", "DEFAULT_QUEUE")

_List = TypeVar("_List", ast.List, ast.Tuple)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """What ``routing.py`` says."""

    #: The routes that could be made, as written; not yet checked against the queues.
    routes: tuple[Route, ...] = ()
    #: Where a task goes that nothing names; any value, if the file holds a wrong one.
    default_queue: Any = DEFAULT_QUEUE
    #: The place of ``DEFAULT_QUEUE``.
    default_where: str = "routing.py"


def load_routing(path: Path) -> tuple[Routing, list[str]]:
    """Read one routing file: what it says as far as it can be read, and its problems."""
    try:
        source = path.read_bytes()
    except OSError as error:
        return Routing(), [
            f"{path.name}: expected a readable file that says ROUTES = [...], got: {error}"
        ]
    try:
        tree = ast.parse(source, filename=str(path))
    except SyntaxError as error:
        return Routing(), [at(path.name, error.lineno, f"not Python: {error.msg}")]
    except (ValueError, RecursionError, MemoryError) as error:
        return Routing(), [f"{path.name}: not Python: {error}"]

    malformed = _MalformedRoutes(path)
    tree = malformed.visit(tree)
    problems = malformed.problems
    try:
        names = _run(path, tree)
    # The file is the team's: whatever it raises is a problem of the policy, not of the caller.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        words = f"running it raised {type(error).__name__}: {error}"
        return Routing(), [*problems, at(path.name, _line_raised(path, error), words)]

    problems += _misspelt(path, tree, names)
    routes, wrong = _routes(path, tree, names)
    default_line = _assigned(tree, "DEFAULT_QUEUE")
    return Routing(
        routes=routes,
        default_queue=names.get("DEFAULT_QUEUE", DEFAULT_QUEUE),
        default_where=f"{path.name}:{default_line.lineno}" if default_line else path.name,
    ), [*problems, *wrong]


class _MalformedRoutes(ast.NodeTransformer):
    """Takes calls of ``Route`` that cannot work out of lists, and says what is wrong with each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []

    def visit_List(self, node: ast.List) -> ast.List:
        return self._without_malformed(node)

    def visit_Tuple(self, node: ast.Tuple) -> ast.Tuple:
        return self._without_malformed(node)

    def _without_malformed(self, node: _List) -> _List:
        self.generic_visit(node)
        node.elts = [element for element in node.elts if not self._report(element)]
        return node

    def _report(self, node: ast.expr) -> bool:
        found = list(_call_problems(node)) if isinstance(node, ast.Call) else []
        self.problems += [at(self.path.name, node.lineno, problem) for problem in found]
        return bool(found)


def _call_problems(call: ast.Call) -> list[str]:
    name = call.func
    if not (
        (isinstance(name, ast.Name) and name.id == "Route")
        or (isinstance(name, ast.Attribute) and name.attr == "Route")
    ):
        return []
    if any(isinstance(arg, ast.Starred) for arg in call.args):
        return []
    keywords = [keyword.arg for keyword in call.keywords]
    if None in keywords:  # ``**options``: only running it can tell
        return []
    problems = []
    if len(call.args) + ("pattern" in keywords) != 1:
        problems.append(
            f"Route: expected one pattern, then queue= and priority= by name, "
            f"got: {len(call.args)} values without a name"
        )
    problems += [
        f"Route: unknown key {key!r}"
        + (did_you_mean(key, _KEYWORDS) or f"; expected {', '.join(_KEYWORDS)}")
        for key in keywords
        if key not in {*_KEYWORDS, "pattern"}
    ]
    if "queue" not in keywords and not problems:
        problems.append("Route: expected queue=..., got nothing")
    return problems


def _run(path: Path, tree: ast.Module) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location(MODULE_NAME, path)
    assert spec is not None, "a path that ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(MODULE_NAME)
    sys.modules[MODULE_NAME] = module
    try:
        # Not the loader's exec_module: it would write (or worse, trust) a __pycache__ there.
        exec(compile(tree, str(path), "exec"), module.__dict__)  # noqa: S102 (the team's own file)
    except BaseException:
        del sys.modules[MODULE_NAME]
        if before is not None:
            sys.modules[MODULE_NAME] = before
        raise
    return module.__dict__


def _routes(
    path: Path, tree: ast.Module, names: dict[str, Any]
) -> tuple[tuple[Route, ...], list[str]]:
    if "ROUTES" not in names:
        return (), [f"{path.name}: expected ROUTES = [Route(...), ...], got nothing of that name"]
    said = names["ROUTES"]
    node = _assigned(tree, "ROUTES")
    line = node.lineno if node else None
    if not isinstance(said, list | tuple):
        words = f"ROUTES: expected a list of Route(...), got: {shortened(repr(said))}"
        return (), [at(path.name, line, words)]
    elements = node.value.elts if node and isinstance(node.value, ast.List | ast.Tuple) else []
    exact = len(elements) == len(said)
    problems = [
        at(
            path.name,
            elements[index].lineno if exact else line,
            f"ROUTES[{index}]: expected Route(...), got: {shortened(repr(item))}",
        )
        for index, item in enumerate(said)
        if not isinstance(item, Route)
    ]
    return tuple(item for item in said if isinstance(item, Route)), problems


def _misspelt(path: Path, tree: ast.Module, names: dict[str, Any]) -> list[str]:
    """Names at the top of the file that mean ROUTES or DEFAULT_QUEUE and would be ignored."""
    problems = []
    for name in names:
        near = did_you_mean(name.upper(), _NAMES)
        node = _assigned(tree, name)
        if near and name not in _NAMES and node and not name.startswith("_"):
            problems.append(at(path.name, node.lineno, f"unknown name {name!r}{near}"))
    return problems


def _assigned(tree: ast.Module, name: str) -> ast.Assign | ast.AnnAssign | None:
    """The last assignment to ``name`` at the top of the file."""
    for node in reversed(tree.body):
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        else:
            continue
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return node
    return None


def _line_raised(path: Path, error: BaseException) -> int | None:
    """The line of the routing file from which ``error`` came, however deep it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return lines[-1] if lines else None
