"""Every process saves the rows that its devices hold; any number of devices and processes goes on with them."""

import shutil
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
from programs import saved_run
from support import laws
from support.processes import launched as processes_of
from support.processes import said

import cojax
from cojax.runs.blocks import Blocks
from cojax.runs.prints import prints_of

FEW = ("table", "hubs")
GRAPH = saved_run.scrambled_grid()
METHOD = cojax.CoOpt(cojax.DIGing(0.05), cojax.Laplacian(0.3))


def one_device():
    return jax.make_mesh((1,), ("any",), devices=jax.devices()[:1])


def launched(processes, devices, folder, **job):
    return processes_of(saved_run.__file__, processes, devices, folders=[str(folder)] * processes, **job)


def ran(processes, devices, folder, **job):
    """What every process said, all of which ended well."""
    started = launched(processes, devices, folder, **job)
    words = said(started)
    for process, each in zip(started, words, strict=True):
        assert process.returncode == 0, each
    return words


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Checkpoints of runs of 20 steps on 2 processes with 2 devices each."""
    folder = tmp_path_factory.mktemp("written")
    ran(2, 2, folder, kinds=FEW, steps=20)
    return folder


@pytest.fixture
def copied(written, tmp_path):
    return Path(shutil.copytree(written, tmp_path / "copied"))


def parts_of(folder, kind):
    """The two files of a checkpoint: that of the first process first."""
    return [np.load(path) for path in sorted(folder.glob(f"{kind}.npz*"), key=lambda path: len(path.name))]


@pytest.mark.parametrize("kind", FEW)
def test_every_process_writes_the_rows_of_its_own_devices_and_the_first_what_is_not_by_row(written, kind):
    files = parts_of(written, kind)
    assert len(files) == 2
    rows = [[file[f"rows.{block}"] for block in range(2)] for file in files]
    # 24 rows on 4 devices, each once; 22 and 23 hold no node.
    assert [[len(block) for block in file] for file in rows] == [[6, 6], [6, 6]]
    assert sorted(np.concatenate([*rows[0], *rows[1]]).tolist()) == list(range(24))
    first, second = ({name for name in file.files if "." not in name} for file in files)
    assert second == {"parts"} and {"parts", "fingerprint", "state0000"} < first
    by_row = [{name for name in file.files if name[:5] in ("state", "trace") and "." in name} for file in files]
    assert by_row[0] == by_row[1] and by_row[0]
    for file in files:
        for name in by_row[0]:  # nothing is as long as all rows are
            assert len(file[name]) <= 24 * 3 if kind == "hubs" else 24 not in file[name].shape
    # A scalar of a look is written once, by the first; what looks keep by node by everybody.
    assert any(name.startswith("trace") for name in first) and any(name.startswith("trace") for name in by_row[0])


@pytest.mark.parametrize("kind", FEW)
def test_one_device_goes_on_with_what_two_processes_saved(copied, kind):
    mesh = one_device()
    wanted = saved_run.run_of(kind, 40, is_cut=False)[1]
    for is_cut in (True, False):
        folder = shutil.copytree(copied, copied.with_name(f"{is_cut}"))
        found = saved_run.run_of(kind, 40, folder / f"{kind}.npz", mesh, is_cut)[1]
        saved_run.check_same(found, wanted, False)
        # What other processes wrote is not needed any more.
        assert [each.name for each in folder.glob(f"{kind}*")] == [f"{kind}.npz"]


def test_another_number_of_devices_goes_on(copied):
    ran(1, 5, copied, kinds=FEW, steps=40, like="a run on one device")
    # And back to one: 25 rows, of which three hold no node.
    for kind in FEW:
        found = saved_run.run_of(kind, 60, copied / f"{kind}.npz", is_cut=False)[1]
        saved_run.check_same(found, saved_run.run_of(kind, 60, is_cut=False)[1], False)


@pytest.mark.exhaustive
def test_every_layout_goes_on_with_any_number_of_devices_and_processes(tmp_path):
    (tmp_path / "at 20").mkdir()
    ran(2, 2, tmp_path / "at 20", kinds=saved_run.KINDS, steps=20)
    for processes, devices, like in (
        (2, 2, "a run on these devices"),
        (1, 4, "a run on one device"),
        (1, 2, "a run on one device"),
        (3, 1, "a run on one device"),
        (1, 1, "a run on one device"),
    ):
        folder = shutil.copytree(tmp_path / "at 20", tmp_path / f"{processes} {devices}")
        ran(processes, devices, folder, kinds=saved_run.KINDS, steps=40, like=like)
    for kind in saved_run.KINDS:
        found = saved_run.run_of(kind, 40, tmp_path / "at 20" / f"{kind}.npz", is_cut=False)[1]
        saved_run.check_same(found, saved_run.run_of(kind, 40, is_cut=False)[1], False)


@pytest.mark.exhaustive
def test_two_processes_go_on_until_the_run_is_certified(tmp_path):
    ran(2, 1, tmp_path, kinds=[], certified=True)


KILLED = {
    "a process that writes its rows": (1, "writing", 5),
    "a process that has written its rows": (1, "written", 5),
    "the first before it writes": (0, "before", 5),
    "the first while it writes": (0, "writing", 5),
    "the first when all is written": (0, "written", 10),
}
MARKS = {name: pytest.mark.exhaustive for name in list(KILLED)[1:]}


@pytest.mark.parametrize("who", [pytest.param(who, marks=MARKS.get(who, ())) for who in KILLED])
def test_a_process_that_is_killed_while_it_saves_leaves_a_checkpoint_that_is_whole(tmp_path, who):
    process, where, step = KILLED[who]
    started = launched(2, 2, tmp_path, kinds=["table"], steps=40, killed=process, where=where)
    try:
        assert started[process].wait(timeout=500) == -signal.SIGKILL
    finally:
        for each in started:
            each.kill()
            each.wait()
    path = tmp_path / "table.npz"
    assert int(np.load(path)["state0000"]) == step
    found = saved_run.run_of("table", 40, path, is_cut=False)[1]
    saved_run.check_same(found, saved_run.run_of("table", 40, is_cut=False)[1], False)
    assert list(tmp_path.iterdir()) == [path]  # what the dead have left is gone


def test_a_signal_that_one_process_gets_ends_all_after_the_same_step(tmp_path):
    for words in ran(2, 1, tmp_path, kinds=["memory by node"], steps=40, stopped=1):
        assert "memory by node: INTERRUPTED at step 5" in words
    found = saved_run.run_of("memory by node", 40, tmp_path / "memory by node.npz", is_cut=False)[1]
    saved_run.check_same(found, saved_run.run_of("memory by node", 40, is_cut=False)[1], False)


@pytest.mark.exhaustive
@pytest.mark.parametrize("process", [0, 1])
def test_where_one_process_cannot_write_all_are_warned_and_the_run_goes_on(tmp_path, process):
    told = ran(2, 1, tmp_path, kinds=["memory by node"], steps=20, full=process)
    for place, words in enumerate(told):
        assert "memory by node: " in words and "at step 20" in words
        why = "No space left" if place == process else f"process {process} could not, and says why"
        assert f"RuntimeWarning: The checkpoint {tmp_path / 'memory by node.npz'} cannot be written" in words
        assert why in words
    assert list(tmp_path.iterdir()) == []


def test_processes_that_do_not_share_a_folder_are_refused_before_the_first_step(tmp_path):
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    job = dict(folders=list(map(str, folders)), kinds=["memory by node"], steps=20)
    for folder, words in zip(folders, said(processes_of(saved_run.__file__, 2, 1, **job)), strict=True):
        assert (
            f"CojaxInputError: A checkpoint needs a folder that all processes see, got {folder}, which process 1"
            in words
        )
        assert list(folder.iterdir()) == []


def refused(path, kind="table", **change):
    with pytest.raises(cojax.CojaxInputError) as error:
        saved_run.run_of(kind, 40, path, is_cut=False, **change)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_part_that_is_missing_damaged_or_of_another_checkpoint_is_refused_in_a_sentence(copied):
    path, (part,) = copied / "table.npz", copied.glob("table.npz.*")
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    assert f"{part} cannot be unpacked, it is truncated" in refused(path)
    part.write_bytes(next(copied.glob("hubs.npz.*")).read_bytes())
    assert f"{part} belongs to another checkpoint than {path}: start anew." in refused(path)
    part.unlink()
    assert f"{path} needs {part.name} beside it, which has the rows of another process" in refused(path)
    part.write_bytes(whole)
    with np.load(part) as arrays:
        rows = {name: array[:-1] if name == "rows.1" else array for name, array in arrays.items()}
    np.savez(part, **rows)
    assert f"{path} does not hold what a run of this problem" in refused(path)


def prints(problem, network, start):
    return prints_of(Blocks(network, problem, start), problem, network, METHOD, start, 1, saved_run.keeping)


@pytest.mark.parametrize("layout", ["dense", "neighbors", "edges", "split"])
def test_a_run_has_one_fingerprint_in_every_layout_and_cut_or_not(layout):
    def network(layout, graph=GRAPH):
        return cojax.Lossy(cojax.network(graph, nodelist=range(22), layout=layout), 0.2)

    problem = laws.quadratic(22)
    start, mesh = laws.start_of(problem), one_device()
    told = prints(problem, network("neighbors"), start)
    assert prints(problem, network(layout), start) == told
    assert prints(*cojax.shard(problem, network(layout), start, mesh)) == told
    # One edge more, two nodes that change places, and one number of one node: each is another run.
    longer, swapped = GRAPH.copy(), [1, 0, *range(2, 22)]
    longer.add_edge(0, next(node for node in range(1, 22) if not GRAPH.has_edge(0, node)))
    rows = jax.tree.map(lambda leaf: leaf[np.asarray(swapped)], problem.data)
    last = jax.tree.map(lambda leaf: leaf.at[21].multiply(1 + 1e-15), problem.data)
    for other, where in (
        ((problem, network(layout, longer), start), "network.graphs.ends"),
        ((cojax.Problem(laws.cost, rows, problem.budget), network(layout), start), "problem.data[0]"),
        ((cojax.Problem(laws.cost, last, problem.budget), network(layout), start), "problem.data[0]"),
        ((problem, network(layout), start._replace(cpu=-start.cpu)), "start.cpu"),
    ):
        found = prints(*cojax.shard(*other, mesh))
        assert found[where] != told[where] and prints(*other) == found


def test_directed_graphs_are_told_apart_from_their_reverse():
    problem, cycle = laws.quadratic(22), 0.5 * np.roll(np.eye(22), 1, axis=0)
    one, other = (prints(problem, cojax.network(matrix), laws.start_of(problem)) for matrix in (cycle, cycle.T))
    assert [name for name in one if one[name] != other[name]] == ["network.ends"]


def test_a_ledger_keeps_its_books_in_the_order_of_one_layout():
    problem = laws.quadratic(22)
    one, other = (
        prints(problem, cojax.Ledger(cojax.network(GRAPH, nodelist=range(22), layout=layout)), laws.start_of(problem))
        for layout in ("neighbors", "edges")
    )
    assert (one["network.graphs.kind"], other["network.graphs.kind"]) == ("'Neighbors'", "'Edges'")


def test_the_samples_of_minibatches_are_drawn_by_row():
    problem, network, mesh = laws.quadratic(22), cojax.network(GRAPH, nodelist=range(22)), one_device()
    start = laws.start_of(problem)
    cut = cojax.shard(problem, network, start, mesh)

    def sampled(problem):
        return cojax.Minibatch(problem, 2, samples=lambda data: data[:2])

    whole, shared = prints(sampled(problem), network, start), prints(sampled(cut.problem), *cut[1:])
    assert (
        whole["problem.draws['order']"] != shared["problem.draws['order']"]
        and network.numbers[0] != cut.network.names[0]
    )
    assert prints(sampled(problem), network, start) == whole


def test_a_run_of_minibatches_goes_on_on_as_many_devices(tmp_path):
    problem, network, path = laws.quadratic(22), cojax.network(GRAPH, nodelist=range(22)), tmp_path / "run.npz"
    cut = cojax.shard(problem, network, laws.start_of(problem), one_device())
    batch = cojax.Minibatch(cut.problem, 2, samples=lambda data: data[:2])
    whole = cojax.solve(batch, cut.network, METHOD, cut.start, num_steps=20, checkpoint=tmp_path / "whole.npz")
    for num_steps in (10, 20):
        found = cojax.solve(batch, cut.network, METHOD, cut.start, num_steps=num_steps, checkpoint=path)
    for mine, yours in zip(*map(jax.tree.leaves, (found.x, whole.x)), strict=True):
        np.testing.assert_array_equal(mine, yours)


def test_the_checkpoint_of_another_run_is_refused_however_its_rows_lie(copied):
    assert "hubs.npz is the checkpoint of another run: network" in refused(copied / "hubs.npz", "table")
