"""Several processes of one script that talk over loopback, as machines would, and what each of them found."""

import json
import socket
import subprocess
import sys
from typing import Any


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def launched(script: str, processes: int, word: str) -> list[dict[str, Any]]:
    """What every process of `script` printed last, as JSON; called with their number, its own, a port and `word`."""
    port = free_port()
    started = [
        subprocess.Popen(
            [sys.executable, script, str(processes), str(process), str(port), word], stdout=subprocess.PIPE, text=True
        )
        for process in range(processes)
    ]
    said = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit(f"{processes} processes did not end well")
    return [json.loads(words.splitlines()[-1]) for words in said]
