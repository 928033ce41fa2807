"""The sentences of docs/results.md are those of the committed records; its tables are made from them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import median

import pytest
from closeness import assert_close, assert_same_page

from benchmarks.plot_crossover import joules_to_reach
from benchmarks.results import (
    FIRST_PROOF,
    LARGER_PROOF,
    PROOF,
    RUNS,
    cheapest_in_sweep,
    proof_rows,
    record,
)
from benchmarks.scale import trends
from clso.prove.report import rewrite_report

TEXT = (RUNS.parent / "docs/results.md").read_text().replace("\n", " ")
VERDICT, ROWS = record(f"{PROOF}/verdict.json"), proof_rows()


@pytest.mark.parametrize("proof", [PROOF, FIRST_PROOF])
def test_the_proofs_report_follows_from_its_record(proof: str, tmp_path: Path) -> None:
    copy = tmp_path / "proof"
    copy.mkdir()
    for name in ("config.toml", "manifest.json", "records.jsonl"):
        (copy / name).write_bytes((RUNS / proof / name).read_bytes())
    assert_close(rewrite_report(copy), record(f"{proof}/verdict.json"))
    assert_same_page((copy / "report.md").read_text(), (RUNS / proof / "report.md").read_text())


def test_net_energy_is_over_the_idle_power_of_the_windows_own_card() -> None:
    rows = list(proof_rows(FIRST_PROOF).values())
    cards = [row["card"] for row in rows if row["type"] == "session"]
    assert len(set(cards)) == 2  # windows on the first; CLSO's curve, measured again, on the second
    second = next(i for i, row in enumerate(rows) if row["key"] == "session/2")
    assert not [row for row in rows[second:] if row["type"] == "window"]
    own = [row["idle_w"] for row in rows[:second] if row["type"] == "idle"]
    assert math.isclose(record(f"{FIRST_PROOF}/verdict.json")["idle_w"], sum(own) / len(own))


def test_what_is_said_of_the_proof() -> None:
    assert VERDICT["protocol_met"]
    assert VERDICT["criteria"] == ["minimum", "must"]
    net = VERDICT["against"]["adamw_best"]["energy_net_ratio"]
    assert f"the ratio is {net['value']:.3f} ({net['low']:.3f} to {net['high']:.3f})" in TEXT
    sides = zip(
        VERDICT["clso"]["test_loss_by_seed"],
        VERDICT["adamw_best"]["test_loss_by_seed"],
        strict=True,
    )
    assert f"lower on {sum(own < other for own, other in sides)} of 8 seeds" in TEXT
    saved = 1 - VERDICT["against"]["adamw_reference"]["energy_ratio"]["value"]
    assert f"saving is {saved * 100:.0f} %" in TEXT
    speed = VERDICT["adamw_best"]["time_s"] / VERDICT["clso"]["time_s"]
    assert f"it is {speed:.1f} times" in TEXT
    sweep = [row for row in ROWS.values() if row["type"] == "sweep"]
    assert f"a sweep of {len(sweep)} trainings" in TEXT
    assert f"own {sum(row['energy_j'] for row in sweep) / 1000:.1f} kJ" in TEXT


def test_what_is_said_of_few_generations() -> None:
    valid = {n: ROWS[f"curve/clso/{n}"]["valid_loss"] for n in (1, 50)}
    (row,) = (row for row in VERDICT["targets"] if row["target"] == "strongest AdamW")
    own, best = row["clso"], VERDICT["adamw_best"]
    assert f"{own:.0f} J, {own / best['energy_j']:.3f} of the strongest AdamW's joules" in TEXT
    said = f"end at {valid[1]:.3f} on valid, where AdamW ends at {best['valid_loss']:.3f}"
    assert f"{said} and runs of 50 at {valid[50]:.3f}" in TEXT


def test_what_is_said_of_the_first_proof() -> None:
    first = record(f"{FIRST_PROOF}/verdict.json")
    assert first["protocol_met"]
    assert {"must", "own_bar"} <= set(first["criteria"])
    ratio, best, own = first["energy_ratio"], first["adamw_best"], first["clso"]
    assert f"a ratio of {ratio['value']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})" in TEXT
    n = len([row for row in proof_rows(FIRST_PROOF).values() if row["type"] == "sweep"])
    assert f"{n} trainings at one batch size: {best['test_loss']:.3f} for" in TEXT
    assert (
        f"for {best['energy_j']:.0f} J, CLSO {own['test_loss']:.3f} for {own['energy_j']:.0f} J"
        in TEXT
    )
    now = VERDICT["adamw_best"]
    assert f"{now['test_loss']:.3f} for {now['energy_j']:.0f} J" in TEXT


def test_scale() -> None:
    found = record("2026-11-22_scale/scale.json")
    assert_close(trends(found["sizes"]), found["trends"], rel=1e-6)  # through a matrix inverse
    assert {r["d_model"] for r in found["sizes"]} == {64, 128, 256, 512}
    for r in found["sizes"]:
        assert r["clso"]["valid_loss"] < r["adamw"]["valid_loss"]
    for slope in found["trends"][1]["slopes"].values():
        assert f"{slope['slope']:.2f} +- {slope['standard_error']:.2f} for the" in TEXT


def test_evolution_against_its_controls() -> None:
    gpt2 = record("2026-11-22_evolution-matters/gpt2.json")
    pointer = record("2026-11-22_evolution-matters/gpt2-pointer.json")
    assert len(gpt2["rows"]) == 16
    against_random = gpt2["evolved_minus_random_search"]
    assert f"by {-against_random['mean']:.4f} nats" in TEXT
    assert f"interval {-against_random['high']:.4f} to {-against_random['low']:.4f}" in TEXT
    assert f"and by {_gain(pointer['evolved_minus_random_search'])[:-1]}, 8 paired seeds)" in TEXT
    default, of_pointer = gpt2["evolved_minus_hand_set"], pointer["evolved_minus_hand_set"]
    assert f"(set by hand) by {_gain(default)} and {-of_pointer['mean']:.3f}." in TEXT
    assert max(found["evolved_minus_random_search"]["high"] for found in (gpt2, pointer)) < 0
    assert max(default["high"], of_pointer["high"]) < 0


def _gain(difference: dict[str, float]) -> str:
    """How much lower, with its interval."""
    return f"{-difference['mean']:.3f} ({-difference['high']:.3f} to {-difference['low']:.3f})"


def test_what_grown_and_random_models_do_not_do() -> None:
    evolved = record("2026-11-22_default-cpu/result.json")["best"]["test_loss"]
    random = record("2026-11-22_random-cpu/result.json")
    grams = record("2026-11-22_nsm/ngram/result.json")
    texts = {
        record(f"2026-11-22_{run}/manifest.json")["corpus"]["hash"]
        for run in ("default-cpu", "random-cpu", "nsm/ngram")
    }
    assert len(texts) == 1
    assert (
        f"reaches {grams['kn3']['test_loss']:.2f} where the evolved GPT-2 reaches {evolved:.2f}"
        in TEXT
    )
    chance, unigram = random["log_vocabulary"], grams["unigram"]["test_loss"]
    reached = f"true loss of {random['best']['test_loss']:.3f} where ln(vocabulary) is {chance:.3f}"
    assert f"{reached} and a unigram count reaches {unigram:.3f}" in TEXT


def test_speed() -> None:
    speed = record("2026-11-22_throughput/throughput.json")
    assert f"{speed['batched_tokens_per_s'] / 1e6:.1f} M candidate-tokens" in TEXT
    assert f"{speed['speed_up']:.1f} times one candidate" in TEXT
    assert f"{speed['share_of_matrix_rate'] * 100:.0f} % of the" in TEXT
    assert f"and {speed['speed_up_512']:.0f} times on 512 tokens" in TEXT
    assert f"fused head alone reaches {speed['head_share_of_matrix_rate'] * 100:.0f} %" in TEXT


def test_workers() -> None:
    gpus = record("2026-11-22_ray-gpus/ray_gpus.json")
    assert (
        f"measure {gpus['search']['generational']['speedup']:.2f} times as many candidates" in TEXT
    )
    two = record("2026-11-22_ray/ray_scaling.json")["scaling"]["workers"]["2"]
    assert f"2 workers are {two['speedup']:.2f} times as fast as one" in TEXT
    assert f"bare processes get {two['bare_speedup']:.2f} " in TEXT
    found = record("2026-11-22_ray/ray_scaling.json")["simulation"]
    assert f"({found['recorded_s']['median'] * 1000:.0f} ms a candidate)" in TEXT
    share = {
        (r["times"], r["with_engine"], r["n_workers"]): f"{r['efficiency'] * 100:.0f} %"
        for r in found["rows"]
        if r["mode"] == "steady"
    }
    assert f"keeps 256 workers busy to {share[1, True, 256]}" in TEXT
    assert (
        f"alone keeps {share[1, False, 1024]}, and with the engine's breeding {share[1, True, 1024]}:"
        in TEXT
    )
    assert f"ten times as long ({share[10, True, 1024]}," in TEXT


def test_the_crossover_on_a_larger_text() -> None:
    found = record("2026-11-22_crossover/crossover.json")
    own_j, loss = (median(r[key] for r in found["clso"]) for key in ("energy_j", "test_loss"))
    adamw_j = joules_to_reach([(r["energy_j"], r["test_loss"]) for r in found["adamw"]], loss)
    cost = f"{adamw_j / own_j:.0f} times the joules of a whole CLSO run ({own_j:.0f} J)"
    batch = found["adamw_settings"]["batch"]
    assert f"AdamW at batch {batch} needs {cost} to reach CLSO's loss of {loss:.3f}" in TEXT
    joules, reached, key = cheapest_in_sweep(LARGER_PROOF, loss)
    assert "batch=16" in key
    said = f"reached {reached:.3f} for {joules:.0f} J with batches of 16 (the sweep"
    assert said in TEXT
    assert f"so about {joules / own_j:.0f} times" in TEXT
    assert f"AdamW goes on to {min(r['test_loss'] for r in found['adamw']):.2f}" in TEXT


def test_the_search_against_the_field() -> None:
    rows = [
        json.loads(line)
        for line in (RUNS / "2026-11-22_field/nasbench.jsonl").read_text().splitlines()
    ]

    def found(rival: str, dataset: str) -> list[float]:
        own = [r for r in rows if r["rival"] == rival and r["problem"] == f"nasbench201/{dataset}"]
        assert len(own) == 20
        return [r["found_at"] if r["solved"] else math.inf for r in own]

    ours, theirs = (
        [found(rival, d) for d in ("cifar10", "cifar100", "imagenet")]
        for rival in ("clso", "optuna-tpe")
    )
    medians = [f"{median(values):.0f}" for values in ours]
    solved = [str(sum(map(math.isfinite, values))) for values in ours]
    assert (
        f"median of {medians[0]} (CIFAR-10), {medians[1]} (CIFAR-100) and {medians[2]} (ImageNet16-120)"
        in TEXT
    )
    assert f"on {solved[0]}, {solved[1]} and {solved[2]} of 20 seeds" in TEXT
    assert f"{median(theirs[0]):.0f} and {median(theirs[1]):.0f} on the first two" in TEXT
    assert f"on {sum(map(math.isfinite, theirs[2]))} of 20 seeds on the third" in TEXT
    page = (RUNS / "2026-11-22_field/README.md").read_text()
    for rival, n in (
        ("pymoo GA", 22),
        ("Nevergrad (1+1)", 22),
        ("DEAP mu+lambda", 24),
        ("DEAP eaSimple", 22),
    ):
        assert f"| **CLSO** : {rival} | {n} |" in page
    assert "GA on 22, Nevergrad's (1+1) on 22, DEAP's mu + lambda on 24 and eaSimple on 22" in TEXT
    overhead = [
        json.loads(line)
        for line in (RUNS / "2026-11-22_field/overhead.jsonl").read_text().splitlines()
    ]
    short, cost = (
        {
            r["rival"]: r["time_us"]
            for r in overhead
            if r["kind"] == "overhead" and r["n_evaluations"] == n
        }
        for n in (200, 5000)
    )
    assert f"engine alone {cost['clso-no-surrogate']:.0f} µs" in TEXT
    assert (
        f"{short['clso']:.0f} µs over 200 evaluations and {cost['clso']:.0f} µs over 5,000" in TEXT
    )
    assert (
        f"more than DEAP's {short['deap-ea-simple']:.0f} and {cost['deap-ea-simple']:.0f}" in TEXT
    )
    assert all(
        cost["clso-no-surrogate"] < us for rival, us in cost.items() if not rival.startswith("clso")
    )


def test_a_deeper_model_once_more() -> None:
    lines = (RUNS / "2026-11-29_scalability/12x768-gpt2-h200.jsonl").read_text().splitlines()
    second = [row for row in map(json.loads, lines) if row["run"] == 2]
    first, other = (f"{row['energy_j']['total']:.0f}" for row in second)
    assert f"{first} and {other} J" in TEXT
    assert {f"{row['best']['test_loss']:.3f}" for row in second} == {"5.236"}


def test_what_the_readme_says_of_larger_models() -> None:
    rows = record("2026-11-29_scalability/h200.json")["clso"]
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    for size in ("2x128", "36x1280"):
        assert f"{rows[f'{size} gpt2']['test_loss']:.3f}" in readme
