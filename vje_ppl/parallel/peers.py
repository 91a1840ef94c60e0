"""Processes of one run watch over each other: when one is gone, the others end with a sentence and do not wait for it.

Collectives alone would not do: NCCL's wait for minutes, and then leave a stack trace. So the first process listens on a
port, the others stay connected to it, and the kernel closes the connection of a process however it ends.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from lightning.fabric import Fabric

from vje_ppl.errors import UserError

#: Seconds in which the main thread of a survivor should have ended by itself, before the watch ends the process.
GRACE = 3.0

#: Seconds in which the watch hears of a death that a collective has run into.
_HEARSAY = 10.0

_CONNECTING = 60.0
_BYE = "bye"
_CODE = 2
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def watched(fabric: Fabric) -> Iterator[None]:
    """While entered, this process ends when another one of the run does without having left this context in order.

    Within another one, and in a single process, it does nothing.

    Args:
        fabric: launched.

    Raises:
        UserError: in place of the error of a collective that has lost a process.
    """
    if fabric.world_size == 1 or _WATCHES:
        yield
        return
    watch = _Watch(fabric)
    # What started the processes sends SIGTERM to the others as soon as one is gone.
    by_default = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and _in_main_thread()
    if by_default:
        signal.signal(signal.SIGTERM, watch.on_sigterm)
    try:
        yield
    except RuntimeError as error:  # what collectives raise
        watch.raise_if_lost(error)
        raise
    else:
        watch.say_goodbye()
    finally:
        watch.close()
        if by_default:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _Watch:
    """A thread that holds the connections: the first process has one to each other, and they have one to the first."""

    def __init__(self, fabric: Fabric) -> None:
        self._rank, self._count = fabric.global_rank, fabric.world_size
        self._lost: str | None = None
        self._told = False  # whether another process says it
        self._is_lost, self._left = threading.Event(), threading.Event()
        self._selector = selectors.DefaultSelector()
        self._names: dict[socket.socket, str | None] = {}
        listener = _listen() if self._rank == 0 else None
        port = 0 if listener is None else listener.getsockname()[1]
        hosts = (os.environ.get("MASTER_ADDR", "127.0.0.1"), socket.gethostname())
        hosts, port, self._token, first = fabric.broadcast((hosts, port, secrets.token_hex(16), self._name))
        if listener is not None:
            self._selector.register(listener, selectors.EVENT_READ)
        else:
            self._join(hosts, port, first)
        _WATCHES.add(self)
        threading.Thread(target=self._run, daemon=True, name="vje_ppl-peers").start()

    @property
    def _name(self) -> str:
        return f"process {self._rank + 1} of {self._count} (id {os.getpid()} on {socket.gethostname()})"

    def _join(self, hosts: tuple[str, ...], port: int, first: str) -> None:
        for host in hosts:
            with contextlib.suppress(OSError):
                connection = socket.create_connection((host, port), _CONNECTING)
                connection.settimeout(None)
                _send(connection, [self._token, self._name])
                self._add(connection, first)
                return
        _log.warning("%s cannot reach the first one on port %d of %s, so it is not watched", self._name, port, hosts[0])

    def _add(self, connection: socket.socket, name: str | None) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, seconds in {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}.items():
            if hasattr(socket, option):  # a machine that loses its power closes nothing
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
        self._names[connection] = name
        self._selector.register(connection, selectors.EVENT_READ, bytearray())

    def _run(self) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError):  # of what `close` has closed meanwhile
            while not self._left.is_set():
                for key, _ in self._selector.select(timeout=1.0):
                    if key.data is None:
                        self._add(key.fileobj.accept()[0], None)  # type: ignore[union-attr]
                    else:
                        self._hear(key.fileobj, key.data)  # type: ignore[arg-type]

    def _hear(self, connection: socket.socket, heard: bytearray) -> None:
        try:
            new = connection.recv(4096)
        except OSError:
            new = b""
        heard += new
        while b"\n" in heard and connection in self._names:
            line, _, rest = heard.partition(b"\n")
            heard[:] = rest
            self._understand(connection, json.loads(line))
        if not new and connection in self._names:
            name = self._names[connection]
            self._forget(connection)
            if name is not None:
                self._end(_sentence(name), told=False)

    def _understand(self, connection: socket.socket, said: Any) -> None:
        if self._names[connection] is None and isinstance(said, list) and said[:1] == [self._token]:
            self._names[connection] = said[1]
            return
        known = self._names[connection] is not None
        self._forget(connection)
        if known and said != _BYE:
            self._end(said, told=True)

    def _forget(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._names[connection]
        connection.close()

    def _end(self, sentence: str, told: bool) -> None:
        """Tell the others, leave the main thread the time to end by itself, and then end the process."""
        if self._left.is_set():
            return
        for other in self._names:
            with contextlib.suppress(OSError):
                _send(other, sentence)
        self._lost, self._told = sentence, told
        self._is_lost.set()
        if not self._left.wait(GRACE):
            if not told:
                print(f"error: {sentence}", file=sys.stderr, flush=True)
            os._exit(_CODE)

    def raise_if_lost(self, error: RuntimeError) -> None:
        """Say what an error of a collective means, if a process is gone; once among all of them."""
        self._is_lost.wait(_HEARSAY)
        if self._lost is not None:
            self._left.set()
            if self._told:
                sys.exit(_CODE)
            raise UserError(self._lost) from error

    def on_sigterm(self, number: int, frame: FrameType | None) -> None:
        """End as SIGTERM does by default; first say why, if it is only because another process is gone."""
        if self._is_lost.wait(1.0) and not self._told:
            print(f"error: {self._lost}", file=sys.stderr, flush=True)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def say_goodbye(self) -> None:
        """This process needs no other one any more, and no other one needs it."""
        for connection in list(self._names):
            with contextlib.suppress(OSError):
                _send(connection, _BYE)

    def close(self) -> None:
        """Stop watching."""
        self._left.set()
        self.forget_all()

    def forget_all(self) -> None:
        """Close the connections of this process."""
        _WATCHES.discard(self)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _listen() -> socket.socket:
    with contextlib.suppress(OSError):
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", 0))


def _send(connection: socket.socket, message: Any) -> None:
    connection.sendall(f"{json.dumps(message)}\n".encode())


def _sentence(name: str) -> str:
    return (
        f"{name} is gone, killed (perhaps for want of memory) or ended by an error of its own that stands above, and "
        "the others cannot go on without it; give the same command again, which goes on from what is saved."
    )


def speak_of_children() -> None:
    """Have a sentence said when a process that Fabric itself has started is gone.

    Fabric then kills the process that started it without a word to the user, but logs it first, which is our chance.
    """
    logger = logging.getLogger("lightning.fabric.strategies.launchers.subprocess_script")
    logger.handlers, logger.propagate = [_Obituary()], False
    logger.setLevel(logging.INFO)


class _Obituary(logging.Handler):
    """Where processes watch over each other, waits for that to end this one; else says what Fabric has found."""

    def emit(self, record: logging.LogRecord) -> None:
        if _WATCHES:
            time.sleep(3 * GRACE)
        print(f"error: {_sentence('a process of this run')}", file=sys.stderr, flush=True)


_WATCHES: set[_Watch] = set()


def _close_in_child() -> None:
    """A data worker that outlives its process would keep the connection open."""
    while _WATCHES:
        _WATCHES.pop().forget_all()


os.register_at_fork(after_in_child=_close_in_child)
