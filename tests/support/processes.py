"""Programs that tests start, on devices that XLA makes of the CPU, one or several that know each other."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def environment(num_devices):
    """This process's, with so many devices made of the CPU: the flag must be there before JAX is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    paths = [str(TESTS.parent), str(TESTS), *filter(None, [kept.get("PYTHONPATH")])]
    flags = f"{kept.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={num_devices}"
    return kept | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(paths)}


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def launched(program, num_processes, num_devices, **job):
    """The processes of a program that takes a job in JSON: each is told of the others and of its own place."""
    job = job | {"processes": num_processes, "port": free_port()}
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(num_devices))
    jobs = [json.dumps(job | {"process": process}) for process in range(num_processes)]
    return [subprocess.Popen([sys.executable, program, each], **pipes) for each in jobs]


def said(started, seconds=500):
    """What every process said; none is left."""
    try:
        return [process.communicate(timeout=seconds)[0] for process in started]
    finally:
        for process in started:
            process.kill()
