"""Contender's own architectures and its int8 among transformers' Auto classes, for whoever imports `contender` and then loads a release.

`AutoModel.from_pretrained(folder)` knows a model type only where its class is registered, and registering imports transformers and
torch, which takes seconds that a command line does not have. So each is registered at the moment when transformers imports the
module of the Auto classes itself, or at once where it has.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

# transformers' module → ours that register with it when it is imported.
OURS = {
    "transformers.models.auto.configuration_auto": (
        "contender.kinds._tabular_config",
        "contender.kinds._audio_config",
    ),
    "transformers.quantizers.auto": ("contender.kinds._int8",),
    "transformers.models.auto.modeling_auto": ("contender.kinds._tabular_model", "contender.kinds._audio_model"),
}


def register_when_imported() -> None:
    """Registers with what transformers has imported, and whatever it imports later."""
    for theirs, ours in OURS.items():
        if theirs in sys.modules:
            for name in ours:
                import_module(name)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def __init__(self) -> None:
        self._asked: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in OURS or fullname in self._asked:
            return None
        self._asked.add(fullname)  # the others are asked now, and this one with them
        try:
            spec = find_spec(fullname)
        finally:
            self._asked.discard(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    def __init__(self, inner: Loader) -> None:
        self._inner = inner

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._inner.exec_module(module)
        for name in OURS[module.__name__]:
            import_module(name)
