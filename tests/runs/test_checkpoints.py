"""What was saved goes on bit for bit; what is damaged or belongs to another run is refused in one sentence."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import killed_run
from support import laws

import cojax
from cojax.runs import checkpoints, files, pieces
from cojax.runs.blocks import Blocks
from cojax.runs.files import check_folder, replace_file
from cojax.runs.fingerprints import differences, fingerprint

pytestmark = pytest.mark.optimised

METHOD = cojax.CoOpt(learn=cojax.DIGing(0.05), allocate=cojax.Laplacian(0.3))
NETWORK = cojax.Lossy(cojax.network(laws.ring_with_chords()), 0.2, 7)


def ran(checkpoint=None, *, num_steps=80, problem=None, network=NETWORK, method=METHOD, start=None, **settings):
    problem = laws.quadratic() if problem is None else problem
    start = laws.start_of(problem) if start is None else start
    settings = {"piece": 20, "every": 10, "checkpoint": checkpoint} | settings
    return pieces.in_pieces(problem, network, method, start, num_steps=num_steps, **settings)


def same_bits(one, other):
    ours, theirs = (jax.tree.leaves((run.solution.x, run.solution.state, run.solution.trace)) for run in (one, other))
    assert len(ours) == len(theirs)
    for mine, yours in zip(ours, theirs, strict=True):
        assert mine.dtype == yours.dtype and np.asarray(mine).tobytes() == np.asarray(yours).tobytes()


@pytest.fixture
def saved(tmp_path):
    """The checkpoint of a run of 40 steps."""
    ran(tmp_path / "run.npz", num_steps=40)
    return tmp_path / "run.npz"


def test_a_resumed_run_is_the_whole_run_bit_for_bit_with_all_of_its_trace(saved):
    whole, resumed = ran(), ran(saved)
    same_bits(whole, resumed)
    assert resumed.solution.trace.step.tolist() == [10, 20, 30, 40, 50, 60, 70, 80]


def test_a_run_that_was_saved_at_its_end_returns_that_end(saved):
    same_bits(ran(num_steps=40), ran(saved, num_steps=40))


def test_a_run_saved_beyond_the_steps_that_are_asked_for_is_refused(saved):
    with pytest.raises(cojax.CojaxInputError, match=r"run.npz is at step 40, beyond the 20 that are asked for"):
        ran(saved, num_steps=20)


def test_a_run_that_reached_its_tolerance_stops_again_where_it_was_saved_before(tmp_path):
    problem, path = laws.quadratic(), tmp_path / "run.npz"
    settings = {"tolerance": 1e-4, "every": 50, "checkpoint": path}
    first = cojax.solve_to(problem, NETWORK, METHOD, laws.start_of(problem), max_steps=100, **settings)
    assert cojax.Status(int(first.status)) is cojax.Status.OUT_OF_STEPS
    second = cojax.solve_to(problem, NETWORK, METHOD, laws.start_of(problem), max_steps=2000, **settings)
    settings["checkpoint"] = None
    whole = cojax.solve_to(problem, NETWORK, METHOD, laws.start_of(problem), max_steps=2000, **settings)
    assert cojax.Status(int(second.status)) is cojax.Status.CONVERGED
    np.testing.assert_array_equal(second.x.params, whole.x.params)
    np.testing.assert_array_equal(second.trace.cost, whole.trace.cost)


def test_small_floats_and_keys_come_back_with_every_bit(tmp_path):
    tree = {
        "small": jnp.asarray([1.5, -0.0, jnp.nan, 3e38], jnp.bfloat16),
        "key": jax.random.key(3),
        "flag": jnp.asarray([True, False]),
        "double": jnp.asarray(np.nextafter(1.0, 2.0)),
        "keys by node": jax.random.split(jax.random.key(4), 8),
        "small by node": jnp.arange(16, dtype=jnp.bfloat16).reshape(8, 2) / 3,
    }
    trace = jnp.arange(3, dtype=jnp.int32)
    blocks = Blocks(NETWORK)
    checkpoints.save(tmp_path / "a.npz", checkpoints.Saved(tree, trace), {"a": "1"}, blocks)
    found = checkpoints.load(tmp_path / "a.npz", checkpoints.Saved(tree, trace[:1]), {"a": "1"}, blocks)
    assert found.trace.tolist() == [0, 1, 2]
    for name in ("small", "flag", "double", "small by node"):
        assert found.state[name].dtype == tree[name].dtype
        assert np.asarray(found.state[name]).tobytes() == np.asarray(tree[name]).tobytes()
    for name in ("key", "keys by node"):
        assert (jax.random.key_data(found.state[name]) == jax.random.key_data(tree[name])).all()


def _other_cost(x, data):
    return laws.cost(x, data) + 0.0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"method": cojax.CoOpt(cojax.DIGing(0.04), cojax.Laplacian(0.3))}, "method.learn.step_size (0.05 there, 0.04"),
        (
            {"network": cojax.Lossy(cojax.network(laws.ring_with_chords()), 0.2, 8)},
            "faults[0].key (key uint32[2]",
        ),
        ({"problem": laws.quadratic(seed=1)}, "problem.data[0] (float64[8, 5, 3]"),
        ({"problem": cojax.Problem(_other_cost, laws.quadratic().data, 16.0)}, "problem.cost.func (support.laws.cost"),
        ({"start": laws.quadratic().start(jnp.zeros((8, 3)))}, "start.params (float64[8, 3]"),
        ({"every": 5}, "every (10 there, 5 here)"),
        ({"record": cojax.records.decision}, "record (cojax.records.standard"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused_with_what_differs(saved, change, named):
    with pytest.raises(cojax.CojaxInputError, match=r"is the checkpoint of another run: ") as error:
        ran(saved, **change)
    assert named in str(error.value) and "\n" not in str(error.value)


def test_the_checkpoint_of_another_version_is_refused_with_both_versions(saved, monkeypatch):
    from importlib import metadata

    monkeypatch.setattr(metadata, "version", lambda name: "9.9")
    with pytest.raises(cojax.CojaxInputError, match=r"jax \(\d+\.\d+\.\d+ there, 9\.9 here\)"):
        ran(saved)


def _truncated(content):
    return content[: len(content) // 2]


def _flipped(content):
    place = content.index(b"NUMPY") + 200
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def _repacked(change):
    """The archive after `change(arrays)`, which may also return bytes for a member."""

    def repack(content):
        arrays = dict(np.load(io.BytesIO(content)))
        members = change(arrays) or {}
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                member = io.BytesIO()
                np.save(member, array)
                archive.writestr(f"{name}.npy", members.get(name, member.getvalue()))
        return file.getvalue()

    return repack


def _lying(arrays):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (68719476736,), }"
    header += b" " * (117 - len(header)) + b"\n"
    return {"state0000": b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header}


def _pickled(arrays):
    arrays["state0000"] = np.array([{}], object)


def _without(name):
    def change(arrays):
        del arrays[name]

    return change


def _shapeless(arrays):
    name = next(name for name in arrays if name.startswith("state") and arrays[name].ndim == 2)
    arrays[name] = arrays[name][:-1]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: b"", "truncated, damaged or no npz file"),
        (_truncated, "truncated, damaged or no npz file"),
        (_flipped, "truncated, damaged or no npz file: Bad CRC-32"),
        (_repacked(_lying), "declares 549755813888 bytes for state0000"),
        (_repacked(_pickled), "keeps state0000 as Python objects, which could run code"),
        (_repacked(_shapeless), "does not hold what a run of this problem, network and method has"),
        (_repacked(_without("state0000")), "does not hold what a run of this problem"),
        (_repacked(_without("state0003.0")), "does not hold what a run of this problem"),
        (_repacked(_without("rows.0")), "does not hold what a run of this problem"),
        (_repacked(lambda arrays: arrays.update({"rows.0": arrays["rows.0"][::-1] + 1})), "does not hold what a run"),
        (_repacked(_without("parts")), "is no checkpoint of this version of cojax"),
        (_repacked(_without("fingerprint")), "is no checkpoint of a run"),
        (
            _repacked(lambda arrays: arrays.update(fingerprint=np.frombuffer(b"[" * 100000, np.uint8))),
            "is no checkpoint of a run",
        ),
    ],
)
def test_a_file_that_is_damaged_or_made_up_is_refused_in_one_sentence(saved, damage, message):
    saved.write_bytes(damage(saved.read_bytes()))
    with pytest.raises(cojax.CojaxInputError) as error:
        ran(saved)
    assert message in str(error.value) and "run.npz" in str(error.value) and "\n" not in str(error.value)


def test_a_fingerprint_tells_closures_and_constants_apart_and_knows_itself():
    def scaled(factor):
        return lambda x: factor * x

    assert fingerprint(f=scaled(2.0)) == fingerprint(f=scaled(2.0))
    assert differences(fingerprint(f=scaled(2.0)), fingerprint(f=scaled(3.0))) == ["f.factor (2.0 there, 3.0 here)"]
    assert differences(fingerprint(f=lambda x: x + 1), fingerprint(f=lambda x: x + 2))


def test_a_fingerprint_of_a_mesh_is_its_shape_and_not_what_it_was_asked_before():
    mesh = jax.make_mesh((1,), ("nodes",), devices=jax.devices()[:1])
    told = fingerprint(mesh=mesh)
    assert {path: said for path, said in told.items() if path.startswith("mesh")} == {"mesh": "{'nodes': 1}"}


def test_a_disk_that_is_full_costs_a_warning_and_not_the_run_or_the_last_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    ran(path, num_steps=20)
    good, real = path.read_bytes(), os.fsync

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(RuntimeWarning, match="cannot be written \\(No space left on device\\): the run goes on") as told:
        run = ran(path)
    assert len(told) == 1 and not run.kept and int(run.solution.state.step) == 80
    monkeypatch.setattr(os, "fsync", real)
    assert path.read_bytes() == good and [each.name for each in tmp_path.iterdir()] == ["run.npz"]
    same_bits(ran(), ran(path))


def _no_folder(folder):
    return folder / "none" / "run.npz", "there is no folder "


def _below_a_file(folder):
    (folder / "file").write_text("")
    return folder / "file" / "run.npz", "there is no folder "


def _a_folder(folder):
    (folder / "run.npz").mkdir()
    return folder / "run.npz", "it is a folder"


def _kernel(folder):
    return Path("/proc/run.npz"), "No such file or directory"  # where even root makes no file


@pytest.mark.parametrize("place", [_no_folder, _below_a_file, _a_folder, _kernel])
def test_a_place_that_no_checkpoint_can_be_written_to_is_refused_before_the_first_step(tmp_path, place):
    path, reason = place(tmp_path)

    def cost(x, data):
        raise AssertionError("nothing is computed")

    problem = cojax.Problem(cost, laws.quadratic().data, 16.0)
    with pytest.raises(cojax.CojaxInputError, match="cannot be written") as error:
        cojax.solve_to(
            problem, NETWORK, METHOD, laws.start_of(laws.quadratic()), tolerance=1e-4, max_steps=100, checkpoint=path
        )
    assert f"The checkpoint {path}" in str(error.value) and reason in str(error.value)


def test_looking_whether_a_folder_can_be_written_leaves_nothing_behind(tmp_path):
    check_folder(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    check_folder(tmp_path / "a" / "b")
    assert list(tmp_path.rglob("*")) == [tmp_path / "a"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_piece_and_what_was_saved_goes_on(tmp_path, number):
    before = signal.getsignal(number)
    path, told = tmp_path / "run.npz", []

    def interrupt(steps):
        told.append(steps)
        if len(told) == 2:
            os.kill(os.getpid(), number)

    cut = ran(path, told=interrupt)
    assert cut.signal == number and cojax.Status(int(cut.solution.status)) is cojax.Status.INTERRUPTED
    assert int(cut.solution.state.step) == 40 and signal.getsignal(number) is before
    same_bits(ran(), ran(path))


def test_a_second_signal_ends_at_once():
    def twice(steps):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        ran(told=twice)


def test_a_run_in_a_thread_hears_no_signals_and_works():
    found = []
    thread = threading.Thread(target=lambda: found.append(ran()))
    thread.start()
    thread.join()
    same_bits(found[0], ran())


# Without JAX, so that a process is up in a tenth of a second: a file of 4 MB is replaced again and again.
WRITER = """
import sys, importlib.util, numpy as np
spec = importlib.util.spec_from_file_location("files", sys.argv[1])
files = importlib.util.module_from_spec(spec)
spec.loader.exec_module(files)
count = 0
while True:
    count += 1
    files.replace_file(sys.argv[2], lambda handle: np.savez(handle, whole=np.full(500_000, float(count))))
    print(count, flush=True)
"""


def test_a_file_that_is_being_replaced_when_the_process_is_killed_is_whole(tmp_path):
    path, random = tmp_path / "run.npz", np.random.default_rng(0)
    replace_file(path, lambda handle: np.savez(handle, whole=np.zeros(500_000)))
    for _ in range(10):
        source = sys.modules["cojax.runs.files"].__file__
        process = subprocess.Popen([sys.executable, "-c", WRITER, source, str(path)], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(random.uniform(0, 0.1))
        process.kill()
        process.wait()
        whole = np.load(path)["whole"]
        assert whole.shape == (500_000,) and (whole == whole[0]).all() and whole[0] >= 1


def _whole_while_written_by_two(tmp_path, seconds):
    """How often the file was read while two processes replaced it; every time it was whole."""
    path, source = tmp_path / "run.npz", sys.modules["cojax.runs.files"].__file__
    replace_file(path, lambda handle: np.savez(handle, whole=np.zeros(500_000)))
    command = [sys.executable, "-c", WRITER, source, str(path)]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    reads, ends = 0, time.monotonic() + seconds
    try:
        for writer in writers:
            writer.stdout.readline()
        while time.monotonic() < ends:
            whole = np.load(path)["whole"]
            assert whole.shape == (500_000,) and (whole == whole[0]).all()
            reads += 1
        assert all(writer.poll() is None for writer in writers)  # neither stumbled over the other
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    replace_file(path, lambda handle: handle.write(b"last"))
    assert [each.name for each in tmp_path.iterdir()] == ["run.npz"]  # what the killed left is gone
    return reads


def test_a_file_that_two_processes_replace_is_whole_whenever_it_is_read(tmp_path):
    assert _whole_while_written_by_two(tmp_path, seconds=1) > 3


@pytest.mark.exhaustive
def test_a_file_that_two_processes_replace_is_whole_a_thousand_times(tmp_path):
    assert _whole_while_written_by_two(tmp_path, seconds=60) > 1000


def test_what_a_living_process_or_another_machine_has_under_way_is_left_alone(tmp_path):
    path = tmp_path / "run.npz"
    here = files._machine()
    living, dead = tmp_path / f".run.npz.{here}-{os.getppid()}-00000000.new", subprocess.Popen(["true"])
    dead.wait()
    for left in (living, tmp_path / f".run.npz.elsewhere-{dead.pid}-00000000.new", tmp_path / ".run.npz.new"):
        left.write_text("half")
    (tmp_path / f".run.npz.{here}-{dead.pid}-00000000.new").write_text("half")
    replace_file(path, lambda handle: handle.write(b"whole"))
    names = {each.name for each in tmp_path.iterdir()}
    assert names == {"run.npz", living.name, f".run.npz.elsewhere-{dead.pid}-00000000.new", ".run.npz.new"}


def _killed_at_random(tmp_path, kills, steps, longest):
    """A program that is killed again and again, and started again with what it saved; then its result."""
    path, result, random = tmp_path / "run.npz", tmp_path / "result.npz", np.random.default_rng(1)
    command = [sys.executable, killed_run.__file__, str(path), str(result), str(steps)]
    tests = Path(killed_run.__file__).parents[1]
    places = (str(tests.parent), str(tests), os.environ.get("PYTHONPATH", ""))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    reached = []
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        process.stdout.readline()  # its first steps, or those before it was killed
        time.sleep(random.uniform(0, longest))
        process.kill()
        process.wait()
        if path.exists():
            reached.append(int(np.load(path)["state0000"]))
    assert not result.exists() and reached == sorted(reached) and 0 < reached[-1] < steps
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    found = [np.load(result)[f"arr_{place}"] for place in range(len(np.load(result).files))]
    whole = killed_run.run(None, steps).solution
    for mine, yours in zip(found, jax.tree.leaves((whole.x, whole.state, whole.trace)), strict=True):
        assert mine.dtype == yours.dtype and mine.tobytes() == np.asarray(yours).tobytes()


def test_a_run_that_was_killed_goes_on_to_the_same_bits(tmp_path):
    _killed_at_random(tmp_path, kills=1, steps=4000, longest=0.1)


@pytest.mark.exhaustive
def test_a_run_that_was_killed_a_hundred_times_goes_on_to_the_same_bits(tmp_path):
    _killed_at_random(tmp_path, kills=100, steps=400_000, longest=0.3)


def test_a_trace_too_long_to_be_joined_is_refused_before_the_first_step():
    with pytest.raises(
        cojax.CojaxInputError, match=r"GB for the trace of 1000000000 looks, more than 4\.29: look less"
    ):
        ran(num_steps=10**9, every=1, piece=10**6)
    with pytest.raises(cojax.CojaxInputError, match=r"with every \d+ times as large, or take fewer steps"):
        problem = laws.quadratic()
        cojax.solve_to(problem, NETWORK, METHOD, laws.start_of(problem), tolerance=1e-4, max_steps=10**9, every=1)


IN_TURN = ("dense", "neighbors", "edges")


@pytest.mark.parametrize("later", IN_TURN)
@pytest.mark.parametrize("first", IN_TURN)
def test_graphs_in_turn_with_memory_by_edge_go_on_in_any_layout(tmp_path, first, later):
    link = cojax.Innovation(cojax.AdaptiveQuantizer(3), memory="edge")
    first, later = (cojax.network(laws.switching_graphs(), layout=layout, link=link) for layout in (first, later))
    ran(tmp_path / "run.npz", network=first, num_steps=40)
    on = ran(tmp_path / "run.npz", network=later, num_steps=80)
    whole = ran(network=later, num_steps=80)
    if type(first) is type(later):
        same_bits(on, whole)
    np.testing.assert_array_equal(on.solution.x.cpu, whole.solution.x.cpu)
    np.testing.assert_allclose(on.solution.x.params, whole.solution.x.params, rtol=1e-9, atol=1e-12)
