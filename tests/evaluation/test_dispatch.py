"""The dispatcher without Ray: workers are numbers, and time is what the test says."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clso.evaluation.dispatch import Dispatcher, Task
from clso.space import Genome
from clso.space.results import Evaluation


def dispatcher(
    n_workers: int, *, attempts: int = 3, batch: int | None = None, even: bool = False
) -> Dispatcher:
    out = Dispatcher(attempts=attempts, timeout_s=10.0, batch=batch, even=even)
    for worker in range(n_workers):
        out.add_worker(worker)
    return out


def genomes(n: int) -> list[Genome]:
    return [(i,) for i in range(n)]


def test_nobody_gets_a_second_batch_before_all_have_a_first_and_nobody_gets_a_third() -> None:
    d = dispatcher(3)
    d.submit(genomes(60), 0)
    assert [worker for worker, _ in d.assign(0.0)] == [0, 1, 2, 0, 1, 2]
    assert d.assign(0.0) == []
    d.finished(1, 1.0)
    assert [worker for worker, _ in d.assign(1.0)] == [1]


def test_batches_shrink_so_that_all_end_at_about_the_same_time() -> None:
    d = dispatcher(2)
    d.submit(genomes(64), 0)
    sizes = [len(task.genomes) for _, task in d.assign(0.0)]
    while d.busy:
        worker = 0 if not d.is_idle(0) else 1
        d.finished(worker, 0.0)
        sizes += [len(task.genomes) for _, task in d.assign(0.0)]
    # no finer than a sixteenth of a worker's share
    assert sizes == [
        16,
        12,
        9,
        7,
        5,
        4,
        3,
        2,
        2,
        2,
        2,
    ]


def test_even_shares() -> None:
    d = dispatcher(3, even=True)
    d.submit(genomes(32), 0)
    assert [len(task.genomes) for _, task in d.assign(0.0)] == [11, 11, 10]


def test_a_fixed_batch_is_waited_for_only_by_those_who_have_work() -> None:
    d = dispatcher(1, batch=2)
    d.submit(genomes(3), 0)
    assert [task.genomes for _, task in d.assign(0.0)] == [((0,), (1,))]
    d.submit([(3,)], 0)
    assert [task.genomes for _, task in d.assign(0.0)] == [((2,), (3,))]
    d.submit([(4,)], 0)
    assert d.assign(0.0) == []
    d.finished(0, 1.0)
    d.finished(0, 2.0)
    assert [task.genomes for _, task in d.assign(2.0)] == [((4,),)]


def test_rungs_do_not_mix_in_a_batch() -> None:
    d = dispatcher(1)
    d.submit(genomes(2), 0)
    d.submit([(7,)], 1)
    tasks = [task for _, task in d.assign(0.0)]
    assert [(t.genomes, t.fidelity) for t in tasks] == [(((0,), (1,)), 0), (((7,),), 1)]


def test_only_the_running_batch_is_blamed_and_its_candidates_then_run_alone() -> None:
    d = dispatcher(1, attempts=2, batch=2)
    d.submit(genomes(4), 0)
    assert len(d.assign(0.0)) == 2
    assert d.lost(0, "killed") == []
    d.add_worker(1)
    assert [t.genomes for _, t in d.assign(1.0)] == [((0,),)]  # and nothing behind it
    assert d.lost(1, "killed again") == []
    d.add_worker(2)
    d.assign(2.0)
    gone = d.lost(2, "and again")
    assert [(e.genome, e.status) for e in gone] == [((0,), "failed")]
    assert gone[0].error == "3 workers died over this candidate:\nkilled\nkilled again\nand again"
    d.add_worker(3)
    assert [t.genomes for _, t in d.assign(3.0)] == [((1,),)]
    d.finished(3, 4.0)
    assert [t.genomes for _, t in d.assign(4.0)] == [((2,), (3,))]


def test_a_suspect_waits_for_a_worker_that_has_nothing() -> None:
    d = dispatcher(2, batch=1)
    d.submit(genomes(4), 0)
    assert len(d.assign(0.0)) == 4
    d.lost(0, "killed")  # (0,) may be why, or (2,): the answer to the first can die, too
    d.add_worker(2)
    assert d.assign(1.0) == [(2, Task(5, ((0,),), 0))]
    d.finished(1, 2.0)  # and is at (3,)
    assert d.assign(2.0) == [(1, Task(6, ((2,),), 0))]


def test_a_worker_is_overdue_by_the_time_since_it_began_its_batch() -> None:
    d = dispatcher(2, batch=1)
    d.submit(genomes(4), 0)
    d.assign(0.0)
    d.finished(0, 8.0)
    assert d.overdue(10.0) == []
    assert d.overdue(10.1) == [1]
    assert d.overdue(18.1) == [0, 1]
    d.finished(0, 18.2)
    assert d.overdue(1e9) == [1]


@given(
    n_workers=st.integers(1, 6),
    n=st.integers(1, 60),
    batch=st.none() | st.integers(1, 5),
    even=st.booleans(),
    seed=st.integers(0, 2**32),
    deadly=st.sets(st.integers(0, 59), max_size=4),
)
def test_every_candidate_is_answered_exactly_once_whatever_dies(
    n_workers: int, n: int, batch: int | None, even: bool, seed: int, deadly: set[int]
) -> None:
    rng = random.Random(seed)
    d = dispatcher(n_workers, batch=batch, even=even)
    running: dict[int, list[Task]] = {w: [] for w in range(n_workers)}
    answered: Counter[Genome] = Counter()
    failed: list[Evaluation] = []
    d.submit(genomes(n), 0)
    innocent_deaths = n_born = 0
    while d.busy:
        for worker, task in d.assign(0.0):
            running[worker].append(task)
            assert len(running[worker]) <= 2
        worker = rng.choice([w for w, tasks in running.items() if tasks])
        # sometimes the worker is further than its answers
        at = running[worker][rng.randrange(len(running[worker]))]
        dies = any(g[0] in deadly for g in at.genomes)
        unlucky = not dies and innocent_deaths < 2 and rng.random() < 0.1
        if dies or unlucky:
            innocent_deaths += unlucky
            failed += d.lost(worker, "died")
            del running[worker]
            n_born += 1
            running[100 + n_born] = []
            d.add_worker(100 + n_born)
        elif not any(g[0] in deadly for g in running[worker][0].genomes):
            answered.update(running[worker].pop(0).genomes)
            d.finished(worker, 0.0)
    answered.update(e.genome for e in failed)
    assert answered == Counter(genomes(n))
    assert {e.genome[0] for e in failed} == {i for i in deadly if i < n}


@pytest.mark.parametrize("n_workers", [0, 2])
def test_it_is_busy_while_anything_is_unanswered(n_workers: int) -> None:
    d = dispatcher(n_workers)
    assert not d.busy
    d.submit(genomes(2), 0)
    assert d.busy
    d.assign(0.0)
    assert d.busy
    if n_workers:
        d.finished(0, 1.0)
        assert d.busy
        d.finished(1, 1.0)
        assert not d.busy
