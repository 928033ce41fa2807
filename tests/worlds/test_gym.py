"""The gymnasium environment."""

from __future__ import annotations

import pytest

gymnasium = pytest.importorskip("gymnasium", reason="the extra rl is not installed")

from clso.errors import ConfigError, DataError  # noqa: E402
from clso.worlds.batched import action_index  # noqa: E402
from clso.worlds.gym import BlocksEnv  # noqa: E402
from clso.worlds.problems import Problem  # noqa: E402


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_check_env_passes() -> None:
    from gymnasium.utils.env_checker import check_env

    check_env(BlocksEnv(4), skip_render_check=True)
    check_env(BlocksEnv(5, episodes=20), skip_render_check=True)


def test_a_plan_ends_an_episode_and_is_paid() -> None:
    env = BlocksEnv(3)
    problem = Problem((-1, 0, -1), (-1, -1, -1))
    observation, _ = env.reset(options={"problem": problem})
    assert observation.tolist() == [3, 0, 3, 3, 3, 3]
    assert env.action_masks().sum() == 3
    _, reward, terminated, truncated, _ = env.step(action_index((0, 0), 3))
    assert (reward, terminated, truncated) == (-1.0, False, False)
    _, reward, terminated, _, _ = env.step(action_index((1, -1), 3))
    assert (reward, terminated) == (12.0, True)


def test_an_episode_ends_in_time() -> None:
    env = BlocksEnv(3)
    env.reset(seed=0, options={"problem": Problem((-1, 0, -1), (-1, -1, -1))})
    ended = [env.step(0)[3] for _ in range(12)]
    assert ended == [False] * 11 + [True]


def test_episodes_follow_the_seed_and_the_curriculum() -> None:
    first, second = BlocksEnv(5, episodes=40), BlocksEnv(5, episodes=40)
    sizes = []
    for i in range(40):
        seen = [env.reset(seed=7 if i == 0 else None)[0].tolist() for env in (first, second)]
        assert seen[0] == seen[1]
        sizes.append(sum(t != 5 for t in seen[0][3:5]))
    assert not any(sizes[:10])  # three blocks only: the others stay on the table
    assert any(sizes[20:])


def test_what_is_no_world_is_refused() -> None:
    with pytest.raises(DataError, match="3 to 20 blocks"):
        BlocksEnv(2)
    with pytest.raises(ConfigError, match="unknown split"):
        BlocksEnv(3, "train")
