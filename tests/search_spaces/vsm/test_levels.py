"""Each level alone: what it decides, and that off means off."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from clso.errors import ConfigError
from clso.search_spaces.vsm.choice import choose
from clso.search_spaces.vsm.genes import DEFAULT, GENES, GREEDY, LEVELS, anatomy, genome_of
from clso.search_spaces.vsm.purple import response
from clso.search_spaces.vsm.reference import colours
from clso.search_spaces.vsm.s1 import CrystalReadOut, counted_scores, width_for
from clso.search_spaces.vsm.s2 import HabitTable, Situations
from clso.search_spaces.vsm.s3 import grants
from clso.search_spaces.vsm.s4 import gains, look_ahead, model_of
from clso.search_spaces.vsm.s5 import allowed, masked
from clso.search_spaces.vsm.shapley import coalition_key, coalitions, shapley_values
from clso.worlds.batched import action_move, state_array
from clso.worlds.blocks import TABLE, State
from clso.worlds.canonical import canonical_form
from clso.worlds.facts import LOCAL_BITS, N_BITS, Scene, bit, final_bits, local_bits
from clso.worlds.problems import draw_state
from clso.worlds.solvers import breadth_first

WHOLE = anatomy(DEFAULT)


def test_the_hand_set_genome_means_its_alleles() -> None:
    genome = genome_of(DEFAULT)
    assert [g.choices[a] for g, a in zip(GENES, genome, strict=True)] == list(DEFAULT.values())
    assert WHOLE.present == LEVELS


def test_levels_are_switched_off_by_name() -> None:
    assert WHOLE.only(["S1", "S5"]).present == ("S1", "S5")
    assert WHOLE.without(["S4", "purple"]).present == ("S1", "S2", "S3", "S5")
    with pytest.raises(ConfigError, match="unknown level"):
        WHOLE.without(["S6"])


# S1


def test_scores_are_shares_of_offers() -> None:
    chosen, offered = np.array([0, 3, 0]), np.array([10, 4, 0])
    scores = counted_scores(chosen, offered, 1.0)
    mean = 3 / 14
    assert scores.tolist() == pytest.approx(
        [mean / 11, (3 + mean) / 5, mean], abs=1e-12
    )  # the last was never offered
    none = np.zeros(3, dtype=np.int64)
    assert set(counted_scores(none, none, 1.0).tolist()) == {1.0}


def test_a_read_out_fits_what_was_counted() -> None:
    rng = np.random.default_rng(0)
    patterns = rng.choice(1 << N_BITS, 30, replace=False)
    offered = np.zeros(1 << N_BITS, dtype=np.int64)
    chosen = np.zeros(1 << N_BITS, dtype=np.int64)
    offered[patterns] = 20
    chosen[patterns[:10]] = 20
    read_out = CrystalReadOut(256, 0)
    assert set(read_out.scores(patterns).tolist()) == {1.0}
    read_out.fit(chosen, offered)
    scores = read_out.scores(patterns)
    assert scores[:10].min() > 0.8
    assert scores[10:].max() < 0.2
    assert read_out.scores(patterns[:3]).tolist() == scores[:3].tolist()


def test_a_width_has_about_so_many_parameters() -> None:
    for wanted in (10_000, 500_000):
        n = CrystalReadOut(width_for(wanted), 0).n_parameters
        assert n == pytest.approx(wanted, rel=0.01)


# S2


def keys(pairs: list[tuple[State, State]]) -> list[int]:
    scene = Scene.of(state_array([s for s, _ in pairs]), state_array([g for _, g in pairs]))
    found: list[int] = Situations.of(scene).keys.tolist()
    return found


@pytest.mark.parametrize("n", [3, 4])
def test_keys_are_exactly_the_forms(n: int) -> None:
    states = sorted(breadth_first((TABLE,) * n))
    pairs = list(itertools.product(states, states))
    by_key: dict[int, set[object]] = {}
    for key, pair in zip(keys(pairs), pairs, strict=True):
        by_key.setdefault(key, set()).add(canonical_form(*pair))
    assert all(len(forms) == 1 for forms in by_key.values())
    assert len(by_key) == len({canonical_form(*pair) for pair in pairs})


def test_two_rings_are_not_one_twice_as_long() -> None:
    two = (-1, 0, -1, 2), (1, -1, 3, -1)  # 1 on 0, to be 0 on 1; and again
    one = (-1, 0, -1, 2), (3, -1, 1, -1)  # the same towers, the goal across
    assert len(set(keys([two, one]))) == 2


def test_colours_are_those_of_plain_python() -> None:
    rng = random.Random(0)
    for n in (3, 6, 9):
        pairs = [(draw_state(n, rng), draw_state(n, rng)) for _ in range(20)]
        scene = Scene.of(state_array([s for s, _ in pairs]), state_array([g for _, g in pairs]))
        found = Situations.of(scene)
        for i, pair in enumerate(pairs):
            assert (int(found.keys[i]), found.colours[i, :n].tolist()) == colours(*pair)


def test_a_habit_needs_support_and_confidence_and_holds_for_all_names() -> None:
    start, goal = (TABLE, 0, TABLE), (TABLE, TABLE, 1)
    scene = Scene.of(state_array([start]), state_array([goal]))
    situation = Situations.of(scene)
    done = int(situation.colours[0, 1]), 0  # block 1 to the table
    other = int(situation.colours[0, 2]), int(situation.colours[0, 1])
    table = HabitTable(n_rows=4, support=3, confidence=0.75)
    for _ in range(3):
        assert not table.look_up(situation)[0].any()
        table.count(int(situation.keys[0]), done)
        table.compile()
    hit, action = table.look_up(situation)
    assert hit.all()
    assert action_move(int(action[0]), 3) == (1, TABLE)
    renamed = Scene.of(state_array([(TABLE, TABLE, 1)]), state_array([(2, TABLE, TABLE)]))
    assert action_move(int(table.look_up(Situations.of(renamed))[1][0]), 3) == (2, TABLE)
    table.count(int(situation.keys[0]), other)
    table.compile()
    assert table.look_up(situation)[0].all()  # 3 of 4
    table.count(int(situation.keys[0]), other)
    table.compile()
    assert not table.look_up(situation)[0].any()  # 3 of 5


def test_habits_are_bounded_and_the_best_supported_stay() -> None:
    table = HabitTable(n_rows=2, support=1, confidence=0.5)
    for key, times in ((5, 1), (6, 3), (7, 2)):
        for _ in range(times):
            table.count(key, (1, 2))
    table.compile()
    assert table.keys.tolist() == [6, 7]


# S3


def test_look_ahead_is_granted_when_scores_are_close_and_budget_is_left() -> None:
    scores = np.array([[0.9, 0.1, 0.5], [0.9, 0.1, 0.8], [0.9, 0.1, 0.8]])
    assert grants(scores, 0.8, np.array([5, 5, 0])).tolist() == [False, True, False]


# S4


def test_unknown_actions_are_taken_to_do_something() -> None:
    assert model_of(np.array([0, 0, 3, 2]), np.array([0, 4, 5, 5])).tolist() == [
        True,
        False,
        True,
        False,
    ]


def test_look_ahead_finds_what_one_move_does_not_show() -> None:
    # 2 stands on 0, and 0 should stand on 1: two moves, of which the first gains nothing.
    start, goal = (TABLE, TABLE, 0), (1, TABLE, 0)
    scene = Scene.of(state_array([start]), state_array([goal]))
    facts = local_bits(scene)
    patterns = facts | final_bits(scene)
    model = np.zeros(1 << LOCAL_BITS, dtype=np.bool_)
    rng = random.Random(0)
    for _ in range(300):  # the true model, of the patterns that there are
        state, wanted = draw_state(3, rng), draw_state(3, rng)
        other = Scene.of(state_array([state]), state_array([wanted]))
        local = local_bits(other)
        model[local] = _legal(local)
    assert gains(patterns[_legal(patterns)], True).max() == 0
    chosen, nodes = look_ahead(
        scene,
        patterns,
        np.ones(patterns.shape),
        model,
        depth=2,
        beam=8,
        final_fact=True,
        draws=np.array([0.5]),
    )
    assert action_move(int(chosen[0]), 3) == (2, TABLE)
    one = look_ahead(
        scene,
        patterns,
        np.ones(patterns.shape),
        model,
        depth=1,
        beam=8,
        final_fact=True,
        draws=np.array([0.5]),
    )
    assert 0 < one[1][0] < nodes[0]


def _legal(
    facts: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    wanted = bit("block-clear") | bit("target-clear")
    never = bit("target-is-block") | bit("target-is-support")
    found: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = ((facts & wanted) == wanted) & (
        (facts & never) == 0
    )
    return found


# S5


def test_finished_towers_are_not_broken_and_goals_have_an_order() -> None:
    done = bit("block-in-final-position")
    early = bit("target-is-goal-support")
    ready = early | bit("target-in-final-position")
    patterns = np.array([[done, early, ready, 0]])
    assert allowed(patterns, refusal=True, goal_order=False).tolist() == [[False, True, True, True]]
    assert allowed(patterns, refusal=False, goal_order=True).tolist() == [[True, False, True, True]]
    kept = np.array([[False, True], [False, False]])
    assert masked(np.array([[0.3, 0.2], [0.3, 0.2]]), kept).tolist() == [[0.0, 0.2], [0.3, 0.2]]


# Purple Line


def test_unstacking_takes_a_block_of_a_tower_to_the_table() -> None:
    start, goal = (TABLE, 0, TABLE), (TABLE, TABLE, 1)
    patterns = local_bits(Scene.of(state_array([start]), state_array([goal])))
    kept = np.ones(patterns.shape, dtype=np.bool_)
    drawn = np.flatnonzero(response(patterns, kept, "unstack")[0])
    assert [action_move(int(a), 3) for a in drawn] == [(1, TABLE)]
    anything = np.flatnonzero(response(patterns, kept, "legal")[0])
    assert [action_move(int(a), 3) for a in anything] == [(1, 2), (1, TABLE), (2, 1)]


# Choice and Shapley


def test_choice_follows_the_power_of_the_scores() -> None:
    scores = np.tile([0.2, 0.1, 0.0, 0.2], (4000, 1))
    draws = (np.arange(4000) + 0.5) / 4000
    shares = np.bincount(choose(scores, 1, draws), minlength=4) / 4000
    assert shares.tolist() == pytest.approx([0.4, 0.2, 0.0, 0.4], abs=1e-3)
    shares = np.bincount(choose(scores, 2, draws), minlength=4) / 4000
    assert shares.tolist() == pytest.approx([4 / 9, 1 / 9, 0.0, 4 / 9], abs=1e-3)
    shares = np.bincount(choose(scores, GREEDY, draws), minlength=4) / 4000
    assert shares.tolist() == pytest.approx([0.5, 0.0, 0.0, 0.5], abs=1e-3)


def test_shapley_values_share_out_the_whole() -> None:
    rng = random.Random(0)
    worth = {coalition_key(levels): rng.random() for levels in coalitions()}
    assert len(worth) == 64
    assert {"", "S1+S5", "S1+S2+S3+S4+S5+purple"} <= worth.keys()
    values = shapley_values(worth)
    total = worth["S1+S2+S3+S4+S5+purple"] - worth[""]
    assert sum(values.values()) == pytest.approx(total, abs=1e-9)


def test_a_level_that_adds_the_same_to_all_is_worth_that() -> None:
    worth = {
        coalition_key(levels): 0.25 * ("S3" in levels) + 0.5 * ({"S1", "S5"} <= set(levels))
        for levels in coalitions()
    }
    values = shapley_values(worth)
    assert values == pytest.approx(
        {"S1": 0.25, "S2": 0.0, "S3": 0.25, "S4": 0.0, "S5": 0.25, "purple": 0.0}, abs=1e-12
    )
