"""What lies beside a user's file: the modules that it imports from its folder, and the data that it reads there."""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

_SUITE = ("bench", "methods", "datasets", "reports", "run_all")
"""Modules of these names are the suite's own, whatever is beside a user's file. Records name the suite's code separately."""

_watching: list[UserFile] = []
"""The user's files that are at present loaded or tried."""


@dataclass(frozen=True, eq=False)
class UserFile:
    """A user's Python file, with what it takes from its folder. Nothing is run before `load`.

    Attributes:
        path: of the file.
        imports: the files in its folder, and in packages there, that it imports, itself or through others. A module that is
            imported by a computed name is not among them.
        code: a hash of the file and of its imports, 16 hexadecimal digits.

    """

    path: Path
    imports: tuple[Path, ...]
    code: str
    _data: set[Path] = field(default_factory=set)
    _modules: dict[str, ModuleType] = field(default_factory=dict)

    @classmethod
    def at(cls, path: Path) -> UserFile:
        """Return the file at `path`."""
        imports = tuple(_imported_files(path))
        return cls(path, imports, _hash(path, imports))

    @property
    def name(self) -> str:
        """The name of its module, another one for each code."""
        return f"{self._package}.{self.path.stem}"

    @property
    def _package(self) -> str:
        return f"user_{self.path.stem}_{self.code}"

    @property
    def files(self) -> tuple[Path, ...]:
        """The file, its imports, and the data in its folder that Python opened in `watched`."""
        return (self.path, *self.imports, *sorted(self._data))

    @property
    def identity(self) -> str:
        """A hash of all `files`; it is `code` if there are no data."""
        return _hash(self.path, self.files[1:])

    def load(self) -> ModuleType:
        """Run the file, and return its module; raise what it raises, or `ImportError` if it is no Python file.

        The module is in a package of its own, so that relative imports find what lies beside it.
        """
        for name in [name for name in sys.modules if name == self._package or name.startswith(f"{self._package}.")]:
            del sys.modules[name]  # of an earlier time
        self._modules.clear()
        start = self.path.with_name("__init__.py")
        package = _module(self._package, start if start in self.imports else None, folder=self.path.parent)
        module = _module(self.name, self.path)
        with self.first():
            for each in (package, module):
                if each.__spec__ is not None and each.__spec__.loader is not None:
                    each.__spec__.loader.exec_module(each)
        return module

    @contextmanager
    def first(self) -> Iterator[None]:
        """In the block, modules beside the file come before libraries of the same names, as under `python FILE`.

        They are the file's own: of two files in two folders, each has the `helper` that is beside it. Their bytecode is not
        kept: Python takes kept bytecode for a file that was changed within the same second, if its size is the same.
        """
        hidden, keeps = self._taken_out(), sys.dont_write_bytecode
        sys.dont_write_bytecode = True
        sys.modules.update(self._modules)
        sys.meta_path.insert(0, self)
        sys.path.append(str(self.path.parent.absolute()))  # for a computed name
        try:
            yield
        finally:
            sys.dont_write_bytecode = keeps
            sys.path.remove(str(self.path.parent.absolute()))
            sys.meta_path.remove(self)
            self._modules.update(self._taken_out())
            sys.modules.update(hidden)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """In the block, the files in the folder that Python opens for reading are noted as data."""
        _listen()
        _watching.append(self)
        try:
            yield
        finally:
            _watching.remove(self)

    def opened(self, path: Path) -> None:
        """Note a file as data if it is in the folder, and neither code nor of an environment in it."""
        folder = self.path.parent.resolve()
        inside = path.is_relative_to(folder) and not path.is_relative_to(Path(sys.prefix).resolve())
        if inside and path.suffix not in (".py", ".pyc") and path.is_file():
            self._data.add(self.path.parent / path.relative_to(folder))

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Return where a module beside the file is, as Python's import asks it; None for any other."""
        if path is not None or name not in self._names:
            return None
        return importlib.machinery.PathFinder.find_spec(name, [str(self.path.parent.absolute())])

    @cached_property
    def _names(self) -> set[str]:
        """The modules and packages beside the file that it imports; not those that are part of Python's executable."""
        relative = [file.relative_to(self.path.parent).parts[0] for file in self.imports]
        return {name.partition(".")[0] for name in relative} - set(sys.builtin_module_names) - {"__init__"}

    def _taken_out(self) -> dict[str, ModuleType]:
        """Take the modules of these names out of Python's list, and return them."""
        names = self._names
        if names.isdisjoint(sys.modules):
            return {}
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in names}


def _module(name: str, path: Path | None, *, folder: Path | None = None) -> ModuleType:
    """Return a module, not run yet, of a file; or a package of a folder, without a file if `path` is None."""
    if path is None:
        spec: Any = importlib.machinery.ModuleSpec(name, None, is_package=True)
    else:
        spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ImportError(f"{path} is no Python file")
    if folder is not None:
        spec.submodule_search_locations = [str(folder.absolute())]
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and type hints look for a module's names
    return module


@cache
def _listen() -> None:
    """Have Python report each file that it opens; it offers no way to end that."""

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and _watching and isinstance(arguments[0], str | bytes) and str(arguments[1]).startswith("r"):
            path = Path(os.fsdecode(arguments[0])).resolve()
            for file in _watching:
                file.opened(path)

    sys.addaudithook(hear)


def code_of(path: Path) -> str:
    """Return a hash of a user's file and of what it imports from beside it, 16 hexadecimal digits; nothing is run."""
    return UserFile.at(path).code


def _hash(path: Path, others: Iterable[Path]) -> str:
    digest = hashlib.sha256(path.read_bytes())
    for file in others:
        content = file.read_bytes()
        digest.update(f"\0{file.relative_to(path.parent).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def _imported_files(path: Path) -> list[Path]:
    """Return the files in the folder of `path`, and in packages there, that it imports, itself or through others."""
    files, waiting = {path}, [path]
    while waiting:
        for parts in _imports(waiting.pop(), path.parent):
            new = _files_of(parts, path.parent) - files
            files |= new
            waiting += [file for file in new if file.suffix == ".py"]
    return sorted(files - {path})


def _imports(file: Path, folder: Path) -> Iterator[tuple[str, ...]]:
    """Yield the parts of each module name that a file may import. Of `from a import b`, `b` may be a module too."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError, RecursionError):  # importing it will say so
        return
    package = file.relative_to(folder).parent.parts
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            parts = (*above, *(node.module or "").split(".")) if node.module else above
            yield from ((*parts, alias.name) for alias in node.names)
            if node.level and not above:  # the package of the file itself
                yield ("__init__",)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = [name.value for name in node.args[:1] if isinstance(name, ast.Constant) and isinstance(name.value, str)]
            yield from (tuple(name.lstrip(".").split(".")) for name in names)


def _files_of(parts: tuple[str, ...], folder: Path) -> set[Path]:
    """Return the files below `folder` that importing a module runs: its own, and those of the packages that contain it."""
    if not parts or parts[0] in _SUITE:
        return set()
    stems = [folder.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
    if parts[-1] == "*":  # which modules of a package that is, its `__init__.py` decides when it runs: so all count
        stems[-1:] = [entry.with_suffix("") for entry in sorted(folder.joinpath(*parts[:-1]).glob("*.py"))] if parts[1:] else []
    paths = [path for stem in stems for path in (stem, stem / "__init__")]
    suffixes = importlib.machinery.all_suffixes()
    files = [path.with_name(path.name + suffix) for path in paths for suffix in suffixes]
    return {file for file in files if file.is_file()}
