"""Several processes of one script that talk over loopback, as machines would, and what each of them found."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
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


def answer(one_process: Callable[[int, int, int, str], dict[str, Any]]) -> bool:
    """Whether this is a process of `launched`, which then prints what `one_process` found."""
    if len(sys.argv) == 1:
        return False
    processes, process, port = map(int, sys.argv[1:4])
    print(json.dumps(one_process(processes, process, port, sys.argv[4])))
    return True


def meet(processes: int, process: int, port: int) -> None:
    """Join the other processes, by gloo; before JAX does anything."""
    import jax

    if processes > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=processes, process_id=process)


def resident(name: str) -> int:
    """Bytes of this process: VmRSS, those it has, or VmHWM, the most since it began or the mark was set back."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
