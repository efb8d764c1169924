"""Writers of a registry take turns in the order in which they came.

SQLite lets those that find the file locked sleep for up to a tenth of a second and try again, and
whoever comes then may be first: with 16 writers one in a hundred waited for over two seconds. Here
each draws a number, holds a lock on the byte of that number, and waits until nobody holds the one
before (the queue of Craig 1993 and of Magnusson, Landin and Hagersten 1994, with locks of the
operating system, which a kill frees). It is a queue and no guard: SQLite's own lock keeps writers
apart, so that a number that was drawn and given up by a kill costs order and nothing else.

In: a database. Out: the same transactions. Where the system has no such locks, they are as before.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from noria.database import BUSY_TIMEOUT_S, Database
from noria.errors import StorageError

RETRY_S = 0.001
_FIRST = 8  # the bytes before hold the last number that was drawn
_SET_LOCK = getattr(fcntl, "F_OFD_SETLK", 0)  # of an open file, not of a process: threads queue too


class Turns:
    """A database whose writers queue."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._path = database.path.with_suffix(".turn")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that writes, as the database's own. Raises StorageError."""
        if not _SET_LOCK:
            with self._database.write() as connection:
                yield connection
            return
        descriptor = self._opened()
        try:
            self._wait_for(descriptor, self._drawn(descriptor) - 1)
            with self._database.write() as connection:
                yield connection
        finally:
            os.close(descriptor)  # which ends the turn

    def _opened(self) -> int:
        try:
            return os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(
                f"{self._path} can't be opened ({error.strerror})",
                "a folder that may be written",
                "change its rights",
            ) from error

    def _drawn(self, descriptor: int) -> int:
        """A number of one's own, whose byte is locked before anybody can draw the next."""
        self._wait_for(descriptor, -_FIRST)
        number = int.from_bytes(os.pread(descriptor, _FIRST, 0), "little") + 1
        _try_lock(descriptor, number)
        os.pwrite(descriptor, number.to_bytes(_FIRST, "little"), 0)
        _lock(descriptor, fcntl.F_UNLCK, -_FIRST)
        return number

    def _wait_for(self, descriptor: int, number: int) -> None:
        """Wait until nobody else holds the byte of a number."""
        give_up_at = time.monotonic() + BUSY_TIMEOUT_S
        while not _try_lock(descriptor, number):
            if time.monotonic() > give_up_at:
                raise StorageError(
                    f"{self._database.path}: others have written for {BUSY_TIMEOUT_S:.0f} s",
                    "a turn before that",
                    "see which process writes, then try again; what was stored is intact",
                )
            time.sleep(RETRY_S)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that reads, as the database's own."""
        with self._database.read() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._database.close()


def _try_lock(descriptor: int, number: int) -> bool:
    try:
        _lock(descriptor, fcntl.F_WRLCK, number)
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, POSIX leaves it open
        return False
    return True


def _lock(descriptor: int, kind: int, number: int) -> None:
    # struct flock: l_type, l_whence, l_start, l_len, l_pid (0 for locks of open files), fcntl(2)
    fcntl.fcntl(
        descriptor, _SET_LOCK, struct.pack("hhqqi", kind, os.SEEK_SET, _FIRST + number, 1, 0)
    )
