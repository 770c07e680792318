"""The nursery: a process that does nothing but fork others on order.

It is forked from the parent before that has a thread or a connection: forking later could copy a
lock that another thread holds. What all processes share is loaded already, and stays shared.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
from typing import TYPE_CHECKING, Any

from billiard import current_process
from billiard.context import ForkProcess
from celery import platforms

if TYPE_CHECKING:
    from collections.abc import Callable

    #: The life of one process: its number, and its socket to the parent.
    Life = Callable[[int, socket.socket], None]


class Nursery:
    """The parent's end.

    Args:
        life: what a process does; runs in the process, then the process ends.
    """

    def __init__(self, life: Life) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        freeze_what_is_loaded()
        self.pid = os.fork()
        if not self.pid:
            status = 1
            try:
                ours.close()
                _Forker(life, theirs).run()
                status = 0
            finally:
                os._exit(status)
        theirs.close()
        #: Readable when there is news.
        self.socket = ours

    def fork(self, index: int) -> socket.socket:
        """Order process ``index``; the parent's end of its socket."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(self.socket, [json.dumps({"fork": index}).encode()], [theirs.fileno()])
        # (socket.recv_fds ignores its flags in Python 3.11, so the socket itself must not block.)
        ours.setblocking(False)
        return ours

    def news(self) -> list[tuple[int, int, int | None]]:
        """Index, process id, and None for a process that began, its exit status for one that ended.

        A negative status is the number of a signal.

        Raises:
            ConnectionError: the nursery is gone.
        """
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self.socket.recv(4096, socket.MSG_DONTWAIT)
                if not data:
                    raise ConnectionError("the nursery of the processes is gone")
                index, pid, status = json.loads(data)
                found.append((index, pid, status))
        return found

    def close(self) -> None:
        """End it, and all its processes that are still there."""
        self.socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def freeze_what_is_loaded() -> None:
    """Let what is loaded now stay in memory that is shared: the collector must not touch it.

    To be called before the first fork: a collection afterwards writes into nearly every page.
    """
    gc.collect()
    gc.freeze()


def leave_stopping_to_the_parent() -> None:
    """Let no signal end this process: whole groups get them from terminals and supervisors.

    Handlers and not ``SIG_IGN``, which what a task starts would inherit.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)


class _Forker:
    def __init__(self, life: Life, parent: socket.socket) -> None:
        self._life = life
        self._parent = parent
        self._processes: dict[int, ForkProcess] = {}

    def run(self) -> None:
        platforms.set_pdeathsig("SIGKILL")
        leave_stopping_to_the_parent()
        ended, notice = socket.socketpair()
        for end in (ended, notice):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(notice.fileno(), warn_on_full_buffer=False)
        while True:
            ready, _, _ = select.select([self._parent, ended], [], [])
            if ended in ready:
                ended.recv(4096)
            self._bury()
            if self._parent in ready and not self._obey():
                break
        for process in self._processes.values():
            os.kill(process.pid, signal.SIGKILL)

    def _obey(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._parent, 4096, 1)
        if not data:
            return False
        index = json.loads(data)["fork"]
        own = socket.socket(fileno=descriptors[0])
        process = ForkProcess(target=self._live, args=(index, own))
        process.start()
        own.close()
        self._processes[index] = process
        self._say(index, process.pid, None)
        return True

    def _live(self, index: int, own: socket.socket) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._parent.close()
        # As Celery's prefork pool numbers its processes.
        current_process().index = index
        self._life(index, own)

    def _bury(self) -> None:
        for index, process in tuple(self._processes.items()):
            if process.exitcode is not None:
                del self._processes[index]
                self._say(index, process.pid, process.exitcode)

    def _say(self, *news: Any) -> None:
        with contextlib.suppress(OSError):
            self._parent.send(json.dumps(news).encode())
