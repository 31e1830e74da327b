"""Signals that would end a program in the middle of a step are noted, so that it can end between two."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Inside, the first SIGINT (Ctrl-C) or SIGTERM is put into the list; a second one is a KeyboardInterrupt.

    A signal that was ignored stays so. Outside of the main thread Python hears no signals, and the list stays empty.
    """
    noted: list[int] = []

    def note(number: int, frame: object) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    heard = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in heard:
            signal.signal(number, note)
        yield noted
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)
