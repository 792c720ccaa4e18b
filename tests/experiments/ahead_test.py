"""Programs compiled ahead of their stages: the same results, and what can go wrong beside them."""

import json
import threading

import jax
import pytest
from tiny_run import tiny_run

from advknow.experiments import ahead, tasks
from advknow.experiments.ahead import Ahead
from advknow.experiments.run import run
from advknow.passes import devices
from advknow.runs.unfinished import StoppedError
from advknow.training import evaluation


def running():
    return [thread for thread in threading.enumerate() if thread.name == ahead.NAME]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The workdirs of one run without and with, and the programs that the main thread compiled."""
    folders, compiled = [], {}
    for compile_ahead in (False, True):
        jax.clear_caches()
        found = compiled[compile_ahead] = []
        main = threading.get_ident()

        def listen(event, duration, found=found, main=main, **about):
            if event == "/jax/core/compile/backend_compile_duration":
                found.append((threading.get_ident() == main, about["fun_name"][4:-1]))

        jax.monitoring.register_event_duration_secs_listener(listen)
        folders.append(tmp_path_factory.mktemp("run"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(devices, "usable_cores", lambda: 2)
            run(tiny_run(), folders[-1], compile_ahead=compile_ahead)
        jax.monitoring.unregister_event_duration_listener(listen)
    return *folders, compiled


def test_results_are_the_same_to_the_last_bit(both):
    without, with_it, _ = both
    one, two = (json.loads((folder / "results.json").read_text()) for folder in (without, with_it))
    for found in (one, two):
        del found["seconds"]
    assert one == two
    assert (without / "records.csv").read_bytes() == (with_it / "records.csv").read_bytes()
    assert not running()


def test_no_program_is_compiled_twice_and_the_large_ones_ahead(both):
    compiled = both[-1]
    (_, plain), (_, beside) = compiled.items()
    assert all(main for main, _ in plain)
    names = [name for main, name in beside if not main]
    # Of both sources and the target, whose own training begins at once.
    assert sorted(names).count("_step") >= 4
    for name in ("gradient", "outputs", "_features", "_jacobian"):
        assert name in names, names
    large = {"_step", "gradient", "outputs", "_features", "_jacobian", "_sums"}

    def count(found):
        return sorted(name for _, name in found if name in large)

    assert count(beside) == count(plain)


def test_batches_of_every_size_are_rehearsed(tmp_path, monkeypatch):
    """Of data sets of two sizes, without features of the labelled images."""
    config = tiny_run()
    target, sources = tasks.load(config)
    for parts in (target, *sources.values()):
        assert len(parts.validation) < 50 <= len(parts.test)
    monkeypatch.setattr(evaluation, "SMALL_BATCH_SIZE", 8)
    monkeypatch.setattr(evaluation, "FEW", 50)
    monkeypatch.setattr(devices, "usable_cores", lambda: 2)
    jax.clear_caches()
    found, main = [], threading.get_ident()

    def listen(event, duration, **about):
        if event.endswith("/backend_compile_duration") and "_features" in about["fun_name"]:
            found.append(threading.get_ident() == main)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        run(config, tmp_path, compile_ahead=True)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    # Two sizes of three models; the target's first epoch may be over before its rehearsal.
    assert len(found) == 6
    assert found.count(True) <= 1


def test_an_error_in_a_rehearsal_is_left_to_its_stage():
    ran = []

    def fail():
        raise ValueError("of a rehearsal")

    with Ahead([("first", fail), ("second", lambda: ran.append(1))]) as compiling:
        compiling.wait("first")
        compiling.wait("second")
        compiling.wait("of no rehearsal")
        assert not compiling.pending("first")
    assert ran == [1]


def test_what_is_not_begun_when_the_run_ends_is_left():
    go, begun, ran = threading.Event(), threading.Event(), []

    def first():
        begun.set()
        go.wait()

    stages = [("first", first), ("second", lambda: ran.append(1))]
    with Ahead(stages) as compiling:
        begun.wait()
        assert compiling.pending("first")
        assert compiling.pending("second")
        # The run ends while the first is at work.
        threading.Timer(0.05, go.set).start()
    assert not ran
    assert not running()


def test_waiting_ends_where_the_run_is_to_stop():
    go = threading.Event()
    with Ahead([("first", go.wait)], stop=lambda: True) as compiling:
        compiling.wait("first")
        assert compiling.pending("first")
        go.set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_whatever_ends_the_thread_nobody_waits_for_ever():
    def exit():
        raise SystemExit

    with Ahead([("first", exit), ("second", lambda: None)]) as compiling:
        compiling.wait("first")
        compiling.wait("second")


@pytest.mark.parametrize("questions", [3, 40])
def test_a_run_that_was_stopped_goes_on_to_the_same_results(tmp_path, both, questions):
    """Stopped in the target's training, or when a source has begun."""
    asked = iter([False] * questions)
    with pytest.raises(StoppedError):
        run(tiny_run(), tmp_path, compile_ahead=True, stop=lambda: next(asked, True))
    assert not running()
    run(tiny_run(), tmp_path, compile_ahead=True)
    assert not running()
    assert (tmp_path / "records.csv").read_bytes() == (both[0] / "records.csv").read_bytes()


def test_what_has_begun_is_not_rehearsed(monkeypatch, both):
    """Of a run of which all is there but the end, and of one in which a source is trained."""
    begun = []
    monkeypatch.setattr(ahead.Ahead, "__enter__", lambda self: begun.append(self._stages) or self)
    monkeypatch.setattr(ahead.Ahead, "__exit__", lambda self, *error: None)
    monkeypatch.setattr(devices, "usable_cores", lambda: 2)
    monkeypatch.setattr(ahead.Ahead, "wait", lambda self, name: None)
    run(tiny_run(), both[1], compile_ahead=True)
    assert not begun
    (both[1] / "results.json").unlink()
    run(tiny_run(), both[1], compile_ahead=True)
    (names,) = [[name for name, _ in stages] for stages in begun]
    assert names == [
        "attack target",
        *(
            f"{stage} {name}"
            for name in ("0%", "50%")
            for stage in ("attack", "measure", "transfer")
        ),
    ]
