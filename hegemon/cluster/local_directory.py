"""A local cluster's directory: held by one `hegemon up` at a time, and thrown away at the end unless it was given."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from hegemon.auth.passwords import generated
from hegemon.cluster.local_plan import Home, LocalError

_PREFIX: Final = "hegemon-up-"
_LOCK: Final = "up.lock"
_SECRET: Final = "secret"  # noqa: S105 - a file's name
_SECRET_LENGTH_MIN: Final = 32
_PASSWORD: Final = "admin-password"  # noqa: S105 - a file's name
_SHOWN: Final = "admin-password-shown"
_LOG_BYTES_MAX: Final = 16 << 20


class LocalDirectory:
    """`path` holds `redis/`, `mongodb/`, `logs/`, a directory for each node, `ports.json`, `secret` and, while the
    cluster runs, `cluster.json`. A cluster with logins and TLS has its certificates there, too.

    Use `open()`. The lock ends with this process, however it ends.
    """

    def __init__(self, path: Path, lock: int, *, kept: bool) -> None:
        self.path = path
        self.kept = kept
        self._lock = lock
        self.logs = path / "logs"
        self._state = path / "cluster.json"
        self._ports = path / "ports.json"

    @classmethod
    def open(cls, path: Path | None) -> Self:
        """Take the directory at `path`, made when missing; without one, a new temporary directory.

        Raises LocalError when another `hegemon up` holds it, or when it cannot be made or written.
        """
        if path is None:
            _sweep()
            made = Path(tempfile.mkdtemp(prefix=_PREFIX))
            directory = cls(made, _lock_new(made), kept=False)
        else:
            path = path.absolute()
            try:
                path.mkdir(parents=True, exist_ok=True)
                directory = cls(path, _lock_given(path), kept=True)
            except OSError as error:
                raise LocalError(f"cannot use {path}: {error.strerror or error}") from error
        try:
            directory.logs.mkdir(exist_ok=True)
            directory._state.unlink(missing_ok=True)  # of a run that was killed
        except OSError as error:
            directory.close()
            raise LocalError(f"cannot use {directory.path}: {error.strerror or error}") from error
        return directory

    def log(self, name: str) -> Path:
        """Where that process logs. What earlier runs left there is put aside when it has grown large."""
        path = self.logs / f"{name}.log"
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > _LOG_BYTES_MAX:
                path.replace(path.with_suffix(".log.1"))
        return path

    @property
    def ports(self) -> dict[str, int]:
        """What `remember` was last told; empty if nothing or nonsense."""
        try:
            return msgspec.json.decode(self._ports.read_bytes(), type=dict[str, int])
        except (OSError, msgspec.DecodeError):
            return {}

    def home(self) -> Home:
        """What a plan is made with. Raises LocalError when the secret can be neither read nor made."""
        return Home(self.path, self._secret(), self.ports)

    def _secret(self) -> str:
        """The secret of the nodes' traffic, made at the first start and for the owner alone."""
        path = self.path / _SECRET
        secret = _kept(path, lambda: secrets.token_hex(32))
        if len(secret) < _SECRET_LENGTH_MIN:
            raise LocalError(f"{path} does not hold a secret; remove it, and the next start makes a new one")
        return secret

    def admin_password(self) -> str | None:
        """The password for the first admin of a cluster that begins here; None once it was shown. It is the same until
        then, however many starts fail. LocalError when it can be neither read nor made."""
        path = self.path / _PASSWORD
        if (self.path / _SHOWN).exists():
            return None
        password = _kept(path, generated)
        if not password:
            raise LocalError(f"{path} holds no password; remove it, and the next start makes a new one")
        return password

    def admin_shown(self) -> None:
        """The password was shown: it is kept no longer."""
        with contextlib.suppress(OSError):
            (self.path / _SHOWN).touch(mode=0o600)
            (self.path / _PASSWORD).unlink(missing_ok=True)

    def remember(self, ports: Mapping[str, int]) -> None:
        """Keep the ports that were chosen for the next run."""
        self._write(self._ports, dict(ports))

    def publish(self, state: Mapping[str, Any]) -> Path:
        """Write `cluster.json` whole; nobody sees half of it. It is for the owner alone: a URL may hold a password."""
        self._write(self._state, state)
        return self._state

    def _write(self, path: Path, content: Mapping[str, Any]) -> None:
        text = msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
        draft = path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
        draft.replace(path)

    def close(self) -> None:
        """Remove `cluster.json`, or the whole directory if it was temporary; let go of the lock."""
        if self.kept:
            with contextlib.suppress(OSError):
                self._state.unlink(missing_ok=True)
        else:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _kept(path: Path, make: Callable[[], str]) -> str:
    """What the file holds, made when it is not there, and for the owner alone. LocalError."""
    try:
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(f"{make()}\n")
        except FileExistsError:
            path.chmod(0o600)
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise LocalError(f"cannot use {path}: {getattr(error, 'strerror', None) or error}") from error


def _lock_given(path: Path) -> int:
    descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(descriptor)
    except BlockingIOError:
        owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        who = f" (process {owner})" if owner.isdigit() else ""
        message = f"another `hegemon up`{who} runs on {path}; stop it, or choose another directory with --data"
        raise LocalError(message) from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _lock_new(path: Path) -> int:
    # It gets its name when it is held, so that a sweep never finds it free.
    draft = path / f"{_LOCK}.new"
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT, 0o600)
    _take(descriptor)
    draft.replace(path / _LOCK)
    return descriptor


def _take(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _sweep() -> None:
    """Remove the temporary directories of runs that were killed: nobody holds their locks any more."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if path.is_symlink() or path.stat().st_uid != os.getuid():
                continue
            descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                _take(descriptor)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)
