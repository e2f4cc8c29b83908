"""Sessions: loops of one's own, in one process and in two that train together."""

from __future__ import annotations

import socket
import sys
import threading

from outlast.checkpoint import checkpoints_in, load_newest

LOOP = """
    import os, random, sys, time
    import numpy as np
    import outlast

    random.seed(1); np.random.seed(2)
    rng = np.random.default_rng(3)
    x = np.zeros(8)
    session = outlast.Session()
    session.track(rng=rng)
    if session.restored:
        x = session.arrays["x"]
    seen = session.state.setdefault("seen", [])
    for step in session.steps(40):
        x += rng.normal(size=8) + np.random.normal() + random.random()
        session.arrays["x"] = x
        seen.append(step)
        time.sleep(0.01)
        print(step, flush=True)
    print("result", x.sum().hex(), seen == list(range(40)), session.steps_done)
"""


def result(out):
    return next(line for line in out.splitlines() if line.startswith("result"))


def reach(process, step):
    while (line := process.stdout.readline()) and line.strip() != str(step):
        pass
    assert line, process.stderr.read()


def test_a_loop_goes_on_exactly_after_notices_and_kills(place):
    script = place.script(LOOP)
    place.env = {"OUTLAST_EVERY": "0.02"}
    reference = place.python(script, OUTLAST_SCRATCH=str(place.root / "reference"))
    assert result(reference.stdout).endswith("True 40")
    (place.control() / "end.json").unlink()
    for attempt, stop in enumerate((9, 21), start=1):
        process = place.start(sys.executable, script, attempt=attempt)
        reach(process, stop)
        place.notice(attempt)
        process.communicate(timeout=20)
        assert process.returncode == 75
        assert place.end(attempt).outcome == "yielded"
    process = place.start(sys.executable, script, attempt=3)
    reach(process, 33)
    place.kill(process)
    last = place.python(script, attempt=4)
    assert result(last.stdout) == result(reference.stdout)
    again = place.python(script, attempt=5)
    assert again.stdout == result(reference.stdout) + "\n"
    assert place.end(5).outcome == "finished"


def test_step_by_step_with_metrics(place):
    script = place.script(
        """
        import os, outlast, signal
        with outlast.Session() as session:
            n = session.state.get("n", 0)
            while n < 10:
                n += 1
                session.state["n"] = n
                if n == 4:
                    os.kill(os.getpid(), signal.SIGTERM)
                assert session.should_stop == (n == 4)
                session.step(loss=1 / n, accuracy=float("nan"))
        print("result", n, session.steps_done, session.rank, session.world_size)
        """
    )
    first = place.python(script)
    assert first.returncode == 75
    assert [note["code"] for note in place.notes()] == ["loss-not-finite"]
    second = place.python(script, attempt=2)
    assert result(second.stdout) == "result 10 10 0 1"
    assert place.end(2).outcome == "finished"


def test_a_loss_that_becomes_nan_names_what_is_kept(place):
    script = place.script(
        """
        import outlast
        session = outlast.Session()
        for step in session.steps(9):
            session.state["step"] = step
            session._run.flush()
            session.describe(loss=1.0 if step < 4 else float("nan"))
        """
    )
    place.python(script, OUTLAST_EVERY="0")
    (note,) = place.notes()
    assert note["text"] == (
        "loss is not finite after step 4. Checkpoint 000001-000000000004, the newest with finite "
        "metrics, is kept."
    )
    assert [id_.step for id_ in checkpoints_in(place.scratch)] == [9, 8, 4]


def test_a_session_that_breaks_off_is_not_finished(place):
    script = place.script(
        """
        import outlast
        session = outlast.Session()
        for step in session.steps(10):
            if step == 5:
                break
        """
    )
    assert place.python(script).returncode == 0
    assert place.end() is None


def test_what_is_saved_stays_as_it_was(place):
    """The arrays of a save may change right after it."""
    script = place.script(
        """
        import numpy as np, outlast
        session = outlast.Session(every=0)
        x = session.arrays["x"] = np.zeros(1 << 20)
        deep = session.state["deep"] = {"list": [0]}
        for step in session.steps(30):
            x += 1
            deep["list"][0] = step + 1
        """
    )
    done = place.python(script, OUTLAST_EVERY="0")
    assert done.returncode == 0, done.stderr
    loaded = load_newest(place.scratch)
    assert loaded.state["state"]["deep"]["list"] == [30]
    assert set(loaded.arrays["x"].tolist()) == {30.0}


STATE_DICT = """
    import os, signal, sys, numpy as np, outlast

    class Module:
        def __init__(self, size):
            self.weights = {"layer.weight": np.zeros(size), "count": 0}
        def state_dict(self):
            return self.weights
        def load_state_dict(self, state):
            self.weights = state
        def named_parameters(self):
            return self.weights.items()
"""


def test_objects_with_a_state_dict(place):
    script = place.script(
        STATE_DICT
        + """
    module = Module(3)
    session = outlast.Session()
    session.track(module=module)
    before = module.weights["count"]
    for step in session.steps(before + 5):
        module.weights["count"] += 1
        module.weights["layer.weight"] += 1
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)
    print("result", before, module.weights["count"], module.weights["layer.weight"].sum())
    """
    )
    assert result(place.python(script).stdout) == "result 0 5 15.0"
    assert place.python(script, attempt=2).returncode == 75
    assert result(place.python(script, attempt=3).stdout) == "result 8 13 39.0"


RANK = """
    import os, socket, sys, time
    import numpy as np
    import outlast

    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    wire = socket.create_connection(("127.0.0.1", int(os.environ["PORT"])))

    def all_reduce(value):          # waits for all ranks, as a gradient's does
        wire.sendall(np.float64(value).tobytes())
        data = b""
        while len(data) < 8:
            data += wire.recv(8 - len(data)) or sys.exit("peer is gone")
        return np.frombuffer(data)[0]

    rng = np.random.default_rng(rank)
    session = outlast.Session()
    session.track(rng=rng)
    total = session.state.get("total", 0.0)
    for step in session.steps(60):
        total += all_reduce(rng.normal())
        session.state["total"] = total
        time.sleep(0.004 * (1 + rank))
        print(step, flush=True)
    print("result", rank, float(total).hex())
"""


class Reduce:
    """A server that adds up one number of each of two ranks, step by step."""

    def __init__(self):
        import numpy as np

        self._np = np
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        peers = [self._server.accept()[0] for _ in range(2)]
        with self._server, peers[0], peers[1]:
            try:
                while data := [peer.recv(8, socket.MSG_WAITALL) for peer in peers]:
                    total = sum(self._np.frombuffer(part)[0] for part in data)
                    for peer in peers:
                        peer.sendall(self._np.float64(total).tobytes())
            except (OSError, IndexError, ValueError):
                return


def start_ranks(place, script, attempt):
    port = str(Reduce().port)
    more = {"WORLD_SIZE": "2", "PORT": port, "OUTLAST_EVERY": "0.05"}
    return [
        place.start(sys.executable, script, attempt=attempt, RANK=str(rank), **more)
        for rank in (0, 1)
    ]


def finish(processes):
    return [process.communicate(timeout=30)[0] for process in processes]


def test_two_ranks_stop_at_one_step_and_save_one_checkpoint(place):
    script = place.script(RANK)
    place.env = {"OUTLAST_SCRATCH": str(place.root / "reference")}
    expected = [result(out) for out in finish(start_ranks(place, script, 1))]
    (place.control() / "end.json").unlink()
    place.env = {}

    processes = start_ranks(place, script, 1)
    reach(processes[0], 20)
    place.notice(1)
    outs = finish(processes)
    assert [process.returncode for process in processes] == [75, 75]
    last = [out.split()[-1] for out in outs]
    assert last[0] == last[1]
    end = place.end(1)
    assert (end.outcome, end.step) == ("yielded", int(last[0]) + 1)
    manifest = load_newest(place.scratch, world_size=2).manifest
    assert [part.rank for part in manifest.parts] == [0, 1]
    assert manifest.step == end.step

    # One rank is killed: the checkpoint under way is not whole, the one before is.
    processes = start_ranks(place, script, 2)
    reach(processes[0], 45)
    place.kill(processes[1])
    place.kill(processes[0])
    outs = finish(processes := start_ranks(place, script, 3))
    assert [result(out) for out in outs] == expected
    assert place.end(3).outcome == "finished"
    assert not list((place.scratch / "parts").glob("*.json"))


def test_another_number_of_ranks_is_told(place):
    script = place.script(RANK)
    finish(start_ranks(place, script, 1))
    done = place.python(script, attempt=2, RANK="0", WORLD_SIZE="1", PORT=str(Reduce().port))
    assert "saved by 2 processes and now 1 train" in done.stderr.splitlines()[-1]
