"""A way to the engine that may be cut, and may break just before an answer arrives."""

from __future__ import annotations

import contextlib
import socket
import threading

from tests.integration.queue_engine import Engine


class Wire:
    """Carries everything to the engine and back.

    Attributes:
        lose: The next answer that holds this, or the answer to the next request that does, is lost with its connection.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.lose = b""
        self.lost = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open = []

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.engine.port))
                self._open += [near, far]
                deaf = threading.Event()
                for source, target, back in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._carry, args=(source, target, back, deaf), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, back: object, deaf: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while got := source.recv(65536):
                if self.lose and self.lose in got:
                    self.lose = b""
                    deaf.set()
                if back and deaf.is_set():
                    self.lost.set()
                    break
                target.sendall(got)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
