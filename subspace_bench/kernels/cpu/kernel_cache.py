"""Machine code of kernels on disk, which no folder or damaged file can make fail.

numba raises if it finds no writable folder, cannot write a file, or reads a damaged one, and runs
machine code with a flipped bit. Here a kernel is then compiled again, at worst in every process.
"""

import contextlib
import hashlib
import os
import stat
import tempfile
from pathlib import Path

from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    IndexDataCacheFile,
    UserWideCacheLocator,
)


class TemporaryLocator(UserWideCacheLocator):
    """A folder of this user below the system's temporary one, the last resort."""

    def __init__(self, function, file):
        super().__init__(function, file)
        user = os.getuid() if hasattr(os, "getuid") else "user"
        self.home = Path(tempfile.gettempdir(), f"subspace-bench-{user}")
        self._cache_path = str(self.home / self.get_suitable_cache_subpath(file))

    def ensure_cache_path(self):
        with contextlib.suppress(FileExistsError):
            self.home.mkdir(mode=0o700)
        # Cached files can run code: they must not be another user's.
        found = self.home.lstat()
        if hasattr(os, "getuid") and (
            not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022
        ):
            raise PermissionError(f"{self.home} belongs to somebody else")
        super().ensure_cache_path()


class _Implementation(CompileResultCacheImpl):
    _locator_classes = (*CompileResultCacheImpl._locator_classes, TemporaryLocator)


class _CheckedFiles(IndexDataCacheFile):
    """Files of machine code that end in their SHA-256."""

    def _dump(self, content):
        data = super()._dump(content)  # loading ignores what follows it
        return data + hashlib.sha256(data).digest()

    def _load_data(self, name):
        data = Path(self._data_path(name)).read_bytes()
        if hashlib.sha256(data[:-32]).digest() != data[-32:]:
            raise ValueError(f"{name} is damaged")
        return super()._load_data(name)


class KernelCache(FunctionCache):
    """numba's cache of one function; whatever goes wrong, the function is compiled."""

    _impl_class = _Implementation

    def __init__(self, function):
        super().__init__(function)
        self._cache_file = _CheckedFiles(
            self._cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp()
        )

    def load_overload(self, signature, context):
        try:
            return super().load_overload(signature, context)
        except Exception:
            with contextlib.suppress(Exception):
                self.flush()  # otherwise the damaged index would fail `save_overload`, too
            return None

    def save_overload(self, signature, result):
        with contextlib.suppress(Exception):
            super().save_overload(signature, result)


def enable_cache(dispatcher):
    """Caches a jitted function on disk, if there is a folder that this user can write."""
    with contextlib.suppress(Exception):
        dispatcher._cache = KernelCache(dispatcher.py_func)
