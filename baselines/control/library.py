"""Policies of the extra `rl`: Stable-Baselines3's, CMA-ES and NEAT, each as its package has it by default."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from clso.baselines.control.play import Policy, Turn, play, streams
from clso.errors import MissingDependencyError
from clso.worlds.batched import Ints
from clso.worlds.facts import N_BITS
from clso.worlds.practice import curriculum
from clso.worlds.problems import Problem, draw_problems
from clso.worlds.scoring import score

__all__ = ["LEARNERS", "needs"]

_GENERATION = 20
"""Episodes in which a candidate of CMA-ES or NEAT is measured."""
_ENVS_ON_POLICY = 8
"""Environments at once, for PPO: actions for all cost little more than one. Fewer if they cannot share the episodes out."""
_ROLLOUT, _STEPS_PER_UPDATE = 2048, 4
"""Steps of all environments together between two updates, PPO's and DQN's: their packages' defaults with one."""


def needs(module: str) -> Any:
    """An optional package. Raises `MissingDependencyError` that says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            "this policy needs the extra rl", got=error.name, remedy="Run: pip install 'clso[rl]'"
        ) from error


class _Observed:
    """A Stable-Baselines3 model: it sees the observations of `BlocksEnv` one-hot, of one number of blocks."""

    def __init__(self, model: Any, *, masked: bool) -> None:
        self._model, self._masked = model, masked

    def act(self, turn: Turn) -> Ints:
        from clso.worlds.facts import ACTION_LEGAL, local_bits

        scene, n = turn.scene, turn.scene.n_blocks
        both = np.concatenate([scene.below, scene.goal], axis=1)
        observed = np.eye(n + 1)[np.where(both < 0, n, both)].reshape(len(both), -1)
        more: dict[str, Any] = {}
        if self._masked:
            facts, (with_, without) = local_bits(scene), ACTION_LEGAL
            more["action_masks"] = ((facts & with_) == with_) & ((facts & without) == 0)
        actions, _ = self._model.predict(observed, deterministic=False, **more)
        return np.asarray(actions, dtype=np.int64)


def _stable_baselines(
    module: str, name: str, *, masked: bool = False, on_policy: bool = True
) -> Callable[[int, int, int], Policy]:
    def train(blocks: int, episodes: int, seed: int) -> Policy:
        kind = getattr(needs(module), name)
        callbacks = needs("stable_baselines3.common.callbacks")
        vec_env = needs("stable_baselines3.common.vec_env")
        one_hot = needs("gymnasium").wrappers.FlattenObservation
        from clso.worlds.blocks import step_limit
        from clso.worlds.gym import BlocksEnv

        most = _ENVS_ON_POLICY if on_policy else _STEPS_PER_UPDATE
        n_envs = math.gcd(episodes, most)
        each = episodes // n_envs
        # One-hot here, not in the package for every minibatch again: a seventh of the time.
        env = vec_env.DummyVecEnv(
            [lambda: one_hot(BlocksEnv(blocks, episodes=each)) for _ in range(n_envs)]
        )
        enough = callbacks.StopTrainingOnMaxEpisodes(each, verbose=0)  # of each environment
        between = (
            {"n_steps": _ROLLOUT // n_envs}
            if on_policy
            else {"train_freq": _STEPS_PER_UPDATE // n_envs}
        )
        model = kind("MlpPolicy", env, seed=seed, device="cpu", verbose=0, **between)
        model.learn(episodes * step_limit(blocks), callback=enough)
        return _Observed(model, masked=masked)

    return train


class _Linear:
    """Takes the action with the greatest weighted sum of facts, ties by number."""

    def __init__(self, weigh: Callable[[Any], Any]) -> None:
        """`weigh` takes facts (k, 17) of 0 and 1 and gives scores (k,)."""
        self._weigh = weigh

    def act(self, turn: Turn) -> Ints:
        bits = (turn.facts[:, :, None] >> np.arange(N_BITS) & 1).astype(np.float64)
        scores = self._weigh(bits.reshape(-1, N_BITS)).reshape(bits.shape[:2])
        best: Ints = scores.argmax(axis=1)
        return best


def _spl(policy: Policy, problems: list[Problem], seed: int) -> float:
    solved, steps = play(policy, problems, streams(seed, 0, len(problems)))
    return score(problems, solved.tolist(), steps.tolist()).spl_low


def _generations(blocks: int, episodes: int, seed: int, n_candidates: int) -> list[list[Problem]]:
    """The problems of each generation, by the curriculum; as many as the episodes allow for, at least one."""
    per = n_candidates * _GENERATION
    out: list[list[Problem]] = []
    for n, count in curriculum(blocks, episodes):
        n_generations = max(count // per, 1 if n == blocks else 0)
        drawn = draw_problems(n, n_generations * _GENERATION, "practice", seed)
        out += [list(drawn[i : i + _GENERATION]) for i in range(0, len(drawn), _GENERATION)]
    return out


def _cma(blocks: int, episodes: int, seed: int) -> Policy:
    """CMA-ES (Hansen & Ostermeier 2001) on the weights of the facts."""
    cma = needs("cma")
    options = {"seed": seed + 1, "verbose": -9}
    search = cma.CMAEvolutionStrategy(np.zeros(N_BITS), 1.0, options)
    best = np.zeros(N_BITS)
    for problems in _generations(blocks, episodes, seed, search.popsize):
        found = search.ask()
        values = [-_spl(_weighted(w), problems, seed) for w in found]
        search.tell(found, values)
        best = search.mean
    return _weighted(best)


def _weighted(weights: Any) -> Policy:
    return _Linear(lambda bits: bits @ weights)


_NEAT_CONFIG = """
[NEAT]
fitness_criterion = max
fitness_threshold = 2.0
pop_size = {pop}
reset_on_extinction = True
no_fitness_termination = True
seed = {seed}
[DefaultGenome]
activation_default = tanh
activation_mutate_rate = 0.0
activation_options = tanh
aggregation_default = sum
aggregation_mutate_rate = 0.0
aggregation_options = sum
single_structural_mutation = False
structural_mutation_surer = default
conn_add_prob = 0.3
conn_delete_prob = 0.1
enabled_default = True
enabled_mutate_rate = 0.01
enabled_rate_to_true_add = 0.0
enabled_rate_to_false_add = 0.0
feed_forward = True
initial_connection = full_direct
node_add_prob = 0.1
node_delete_prob = 0.05
num_hidden = 0
num_inputs = {inputs}
num_outputs = 1
compatibility_disjoint_coefficient = 1.0
compatibility_weight_coefficient = 0.5
bias_init_mean = 0.0
bias_init_stdev = 1.0
bias_init_type = gaussian
bias_max_value = 30.0
bias_min_value = -30.0
bias_mutate_power = 0.5
bias_mutate_rate = 0.7
bias_replace_rate = 0.1
response_init_mean = 1.0
response_init_stdev = 0.0
response_init_type = gaussian
response_max_value = 30.0
response_min_value = -30.0
response_mutate_power = 0.0
response_mutate_rate = 0.0
response_replace_rate = 0.0
weight_init_mean = 0.0
weight_init_stdev = 1.0
weight_init_type = gaussian
weight_max_value = 30.0
weight_min_value = -30.0
weight_mutate_power = 0.5
weight_mutate_rate = 0.8
weight_replace_rate = 0.1
[DefaultSpeciesSet]
compatibility_threshold = 3.0
[DefaultStagnation]
species_fitness_func = max
max_stagnation = 20
species_elitism = 1
[DefaultReproduction]
elitism = 1
survival_threshold = 0.2
min_species_size = 2
"""


def _neat(blocks: int, episodes: int, seed: int) -> Policy:
    """NEAT (Stanley & Miikkulainen 2002): a network of facts that grows, ten candidates a generation."""
    neat = needs("neat")
    import random
    import tempfile

    pop = 10
    with tempfile.NamedTemporaryFile("w", suffix=".ini") as file:
        file.write(_NEAT_CONFIG.format(pop=pop, inputs=N_BITS, seed=seed))
        file.flush()
        config = neat.Config(
            neat.DefaultGenome,
            neat.DefaultReproduction,
            neat.DefaultSpeciesSet,
            neat.DefaultStagnation,
            file.name,
        )
    before = random.getstate()
    random.seed(seed)  # the package draws from the global stream
    try:
        population = neat.Population(config)
        todo = iter(_generations(blocks, episodes, seed, pop))
        latest: list[Any] = []

        def measure(genomes: list[tuple[int, Any]], config: Any) -> None:
            problems = next(todo)
            for _, genome in genomes:
                genome.fitness = _spl(_network(neat, genome, config), problems, seed)
            latest[:] = [max((genome for _, genome in genomes), key=lambda g: g.fitness)]

        population.run(measure, len(_generations(blocks, episodes, seed, pop)))
        return _network(neat, latest[0], config)
    finally:
        random.setstate(before)


def _network(neat: Any, genome: Any, config: Any) -> Policy:
    net = neat.nn.FeedForwardNetwork.create(genome, config)

    def weigh(bits: Any) -> Any:
        patterns, back = np.unique(bits, axis=0, return_inverse=True)
        return np.array([net.activate(row)[0] for row in patterns])[back.reshape(-1)]

    return _Linear(weigh)


LEARNERS: dict[str, Callable[[int, int, int], Policy]] = {
    "ppo": _stable_baselines("stable_baselines3", "PPO"),
    "maskable-ppo": _stable_baselines("sb3_contrib", "MaskablePPO", masked=True),
    "dqn": _stable_baselines("stable_baselines3", "DQN", on_policy=False),
    "cma": _cma,
    "neat": _neat,
}
"""Each takes blocks, episodes and a seed, and gives a policy that has practised so much."""
