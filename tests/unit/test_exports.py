"""The ``__init__`` of a package is its contents page: imports, and a complete ``__all__``."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import laneway
from laneway import errors

if TYPE_CHECKING:
    from types import ModuleType


def packages() -> list[str]:
    found = pkgutil.walk_packages(laneway.__path__, "laneway.")
    return ["laneway", *sorted(info.name for info in found if info.ispkg)]


PACKAGES = packages()


def source_of(package: str) -> str:
    file = importlib.import_module(package).__file__
    assert file is not None
    return Path(file).read_text(encoding="utf-8")


def public_names(module: ModuleType) -> set[str]:
    """What ``module.name`` reaches besides the modules inside of it."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }


def groups(source: str) -> list[list[str]]:
    """The names of ``__all__``; a comment begins a group."""
    match = re.search(r"^__all__ = \[(.*?)\]", source, re.MULTILINE | re.DOTALL)
    assert match, "no __all__"
    parts = re.split(r"^\s*#.*$", match[1], flags=re.MULTILINE)
    return [names for part in parts if (names := re.findall(r'"(\w+)"', part))]


def test_the_packages_are_found() -> None:
    assert {"laneway", "laneway.broker", "laneway.cli", "laneway.topology"} <= set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_what_can_be_reached(package: str) -> None:
    module = importlib.import_module(package)
    listed = set(module.__all__) - {"__version__"}
    assert listed == public_names(module)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert len(module.__all__) == len(set(module.__all__))


@pytest.mark.parametrize("package", PACKAGES)
def test_each_group_is_sorted(package: str) -> None:
    found = groups(source_of(package))
    assert found == [sorted(group) for group in found]
    assert [name for group in found for name in group] == importlib.import_module(package).__all__


@pytest.mark.parametrize("package", PACKAGES)
def test_it_is_a_contents_page(package: str) -> None:
    """A docstring, imports of what is inside, and nothing besides but ``__all__`` and the like."""
    docstring, *rest = ast.parse(source_of(package)).body
    assert isinstance(docstring, ast.Expr)
    for node in rest:
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert node.module.startswith(f"{package}.")
            assert node.level == 0
        else:
            assert isinstance(node, ast.Assign), ast.unparse(node)
            assert all(ast.unparse(target).startswith("__") for target in node.targets)


@pytest.mark.parametrize("package", PACKAGES)
def test_private_names_stay_private(package: str) -> None:
    module = importlib.import_module(package)
    own = {name for name in vars(module) if name.startswith("_") and not name.startswith("__")}
    assert own == set()


def test_whoever_uses_laneway_can_name_every_error() -> None:
    leaves = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.LanewayError)
    }
    assert len(leaves) > 15
    assert leaves <= set(laneway.__all__)


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    drawn: list[tuple[str, str]] = []
    path: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"\s{4}([│├└─ ]*)([A-Z]\w+)(?: \((\w+\.)?\w+\))?(?:  |$| )", line)
        if match:
            depth = len(match[1])
            path[depth] = match[2]
            parents = [name for at, name in path.items() if at < depth]
            if parents:
                drawn.append((match[2], path[max(at for at in path if at < depth)]))
    real = {
        (name, value.__bases__[0].__name__)
        for name, value in vars(errors).items()
        if inspect.isclass(value)
        and issubclass(value, errors.LanewayError)
        and value is not errors.LanewayError
    }
    assert set(drawn) == real
