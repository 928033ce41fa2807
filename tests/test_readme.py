"""The figures in README are those of the committed records."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from closeness import assert_close, assert_same_page

from benchmarks.plot_crossover import joules_to_reach
from benchmarks.scale import trends
from clso.prove.report import headline_table, rewrite_report

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def _record(path: str) -> Any:
    return json.loads((ROOT / "runs" / path).read_text())


PROOF = ROOT / "runs/2026-11-22_proof-h100"
VERDICT = json.loads((PROOF / "verdict.json").read_text())
CONTROLS = {
    row["key"]: row for row in map(json.loads, (PROOF / "records.jsonl").read_text().splitlines())
}


def test_the_headline_table_is_the_proofs() -> None:
    inside = README.split("verdict.json -->")[1].split("<!-- /headline -->")[0]
    assert inside.strip() == headline_table(VERDICT).strip()


def test_the_proofs_report_follows_from_its_record(tmp_path: Path) -> None:
    copy = tmp_path / "proof"
    copy.mkdir()
    for name in ("config.toml", "manifest.json", "records.jsonl"):
        (copy / name).write_bytes((PROOF / name).read_bytes())
    assert_close(rewrite_report(copy), VERDICT)
    assert_same_page((copy / "report.md").read_text(), (PROOF / "report.md").read_text())


def test_net_energy_is_over_the_idle_power_of_the_windows_own_card() -> None:
    rows = list(CONTROLS.values())
    cards = [row["card"] for row in rows if row["type"] == "session"]
    assert len(set(cards)) == 2  # windows on the first; CLSO's curve, measured again, on the second
    second = next(i for i, row in enumerate(rows) if row["key"] == "session/2")
    assert not [row for row in rows[second:] if row["type"] == "window"]
    own = [row["idle_w"] for row in rows[:second] if row["type"] == "idle"]
    assert math.isclose(VERDICT["idle_w"], sum(own) / len(own))


def test_what_is_said_of_the_proof() -> None:
    assert VERDICT["protocol_met"]
    assert "must" in VERDICT["criteria"]
    net = VERDICT["against"]["adamw_best"]["energy_net_ratio"]
    assert f"the ratio is {net['value']:.3f} ({net['low']:.3f} to {net['high']:.3f})" in README
    sides = zip(
        VERDICT["clso"]["test_loss_by_seed"],
        VERDICT["adamw_best"]["test_loss_by_seed"],
        strict=True,
    )
    assert f"lower on {sum(own < other for own, other in sides)} of 8 seeds" in README
    saved = 1 - VERDICT["against"]["adamw_reference"]["energy_ratio"]["value"]
    assert f"saving is {saved * 100:.0f} %" in README.replace("\n", " ")
    assert 0.9 < VERDICT["adamw_reference"]["time_s"] / VERDICT["clso"]["time_s"] < 1.1
    speed = VERDICT["adamw_best"]["time_s"] / VERDICT["clso"]["time_s"]
    assert f"it is {speed:.1f} times" in README
    assert "own_bar" in VERDICT["criteria"]
    assert "expected" not in VERDICT["criteria"]
    assert len([key for key in CONTROLS if key.startswith("sweep/")]) == 35
    assert (
        f"own {sum(r['energy_j'] for r in CONTROLS.values() if r['type'] == 'sweep') / 1000:.1f} kJ"
        in README
    )


def test_losses_of_the_proof() -> None:
    ngram = CONTROLS["control/ngram/0"]["models"]
    assert f"| {ngram['kn2']['test_loss']:.3f} / {ngram['kn3']['test_loss']:.3f} | proof" in README
    assert f"| **{VERDICT['clso']['test_loss']:.3f}** |" in README
    assert f"| {VERDICT['adamw_best']['test_loss']:.3f} | proof" in README
    assert f"| {CONTROLS['model/random-crystals/0']['test_loss']:.3f} | proof" in README
    assert (
        f"| {CONTROLS['control/random-search/0']['models']['random-search']['test_loss']:.3f} | proof"
        in README
    )


def test_scale() -> None:
    found = _record("2026-11-22_scale/scale.json")
    assert_close(trends(found["sizes"]), found["trends"], rel=1e-6)  # through a matrix inverse
    assert {r["d_model"] for r in found["sizes"]} == {64, 128, 256, 512}
    for r in found["sizes"]:
        own, other = r["clso"], r["adamw"]
        assert own["valid_loss"] < other["valid_loss"]
        losses = f"| {own['test_loss']:.3f} | {other['test_loss']:.3f} | {own['energy_j']:.0f} | {other['energy_j']:.0f} |"
        size = f"| {r['d_model']} x {r['n_layers']} | {r['n_parameters'] / 1e6:.1f} M"
        assert f"{size} {losses} {r['energy_ratio']:.3f} |" in README
    for slope in found["trends"][1]["slopes"].values():
        assert f"{slope['slope']:.2f} +- {slope['standard_error']:.2f} for the" in README


def test_evolved_losses() -> None:
    rows = _record("2026-11-22_evolution-matters/gpt2-pointer.json")["rows"]
    evolved = [r["evolved"] for r in rows]
    assert len(rows) == 8
    assert f"| **{median(evolved):.3f}** |" in README
    assert f"({min(evolved):.3f} to {max(evolved):.3f})" in README


def test_evolution_against_its_controls() -> None:
    gpt2 = _record("2026-11-22_evolution-matters/gpt2.json")
    pointer = _record("2026-11-22_evolution-matters/gpt2-pointer.json")
    assert len(gpt2["rows"]) == 16
    against_random = gpt2["evolved_minus_random_search"]
    assert f"by {-against_random['mean']:.4f} nats" in README
    assert f"interval {-against_random['high']:.4f} to {-against_random['low']:.4f}" in README
    assert against_random["high"] < 0
    assert pointer["evolved_minus_random_search"]["high"] < 0
    for record in (gpt2, pointer):
        assert f"{-record['evolved_minus_hand_set']['mean']:.3f}" in README
        assert record["evolved_minus_hand_set"]["high"] < 0


def test_costs_and_controls() -> None:
    ablation = _record("2026-11-22_ablation/ablation.json")
    assert f"| {ablation['rank']['47']:.3f} |" in README
    assert (
        f"reaches {_record('2026-11-22_default-cpu/result.json')['best']['test_loss']:.2f}"
        in README
    )
    random = _record("2026-11-22_random-cpu/result.json")["best"]["test_loss"]
    assert f"true loss of {random:.3f}" in README.replace("\n", " ")


def test_speed() -> None:
    speed = _record("2026-11-22_throughput/throughput.json")
    assert f"{speed['batched_tokens_per_s'] / 1e6:.1f} M candidate-tokens" in README
    assert f"{speed['speed_up']:.1f} times one candidate" in README
    assert f"{speed['share_of_matrix_rate'] * 100:.0f} % of the" in README
    assert f"and {speed['speed_up_512']:.0f} times on 512 tokens" in README.replace("\n", " ")
    assert (
        f"fused head alone reaches {speed['head_share_of_matrix_rate'] * 100:.0f} %"
        in README.replace("\n", " ")
    )


def test_workers() -> None:
    text = README.replace("\n", " ")
    gpus = _record("2026-11-22_ray-gpus/ray_gpus.json")
    assert (
        f"measure {gpus['search']['generational']['speedup']:.2f} times as many candidates" in text
    )
    found = _record("2026-11-22_ray/ray_scaling.json")["simulation"]
    assert f"({found['recorded_s']['median'] * 1000:.0f} ms a candidate)" in text
    share = {
        (r["times"], r["with_engine"], r["n_workers"]): f"{r['efficiency'] * 100:.0f} %"
        for r in found["rows"]
        if r["mode"] == "steady"
    }
    assert f"keeps 256 workers busy to {share[1, True, 256]}" in text
    assert (
        f"alone keeps {share[1, False, 1024]}, and with the engine's breeding {share[1, True, 1024]}:"
        in text
    )
    assert f"ten times as long ({share[10, True, 1024]}," in text


def test_the_crossover_on_a_larger_text() -> None:
    found = _record("2026-11-22_crossover/crossover.json")
    own_j, loss = (median(r[key] for r in found["clso"]) for key in ("energy_j", "test_loss"))
    adamw_j = joules_to_reach([(r["energy_j"], r["test_loss"]) for r in found["adamw"]], loss)
    cost = f"{adamw_j / own_j:.0f} times the joules of a whole CLSO run ({own_j:.0f} J)"
    text = README.replace("\n", " ")
    batch = found["adamw_settings"]["batch"]
    assert f"AdamW at batch {batch} needs {cost} to reach CLSO's loss of {loss:.3f}" in text
    # What no record holds is marked as such, and its ratio is that of the figures beside it.
    check = re.search(
        r"without a committed record yet, .* reached 5\.478 for (\d+) J, so about 7\.5 times", text
    )
    assert check is not None
    check_j = int(check[1])
    assert check_j / own_j == pytest.approx(7.5, abs=0.2)
    assert f"AdamW goes on to {min(r['test_loss'] for r in found['adamw']):.2f}" in README


def test_no_placeholder_is_left() -> None:
    assert "@" not in README.replace("Kneser-Ney @", "")


def test_the_search_from_python_runs() -> None:
    (block,) = (
        part.split("```")[0]
        for part in README.split("```python\n")[1:]
        if "minimize" in part.split("```")[0]
    )
    names: dict[str, Any] = {"print": lambda *_: None}
    exec(block, names)
    assert names["result"].value == 0


def test_the_search_against_the_field() -> None:
    text = README.replace("\n", " ")
    rows = [
        json.loads(line)
        for line in (ROOT / "runs/2026-11-22_field/nasbench.jsonl").read_text().splitlines()
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
        in text
    )
    assert f"on {solved[0]}, {solved[1]} and {solved[2]} of 20 seeds" in text
    assert f"{median(theirs[0]):.0f} and {median(theirs[1]):.0f} on the first two" in text
    assert f"on {sum(map(math.isfinite, theirs[2]))} of 20 seeds on the third" in text
    page = (ROOT / "runs/2026-11-22_field/README.md").read_text()
    for rival, n in (
        ("pymoo GA", 22),
        ("Nevergrad (1+1)", 22),
        ("DEAP mu+lambda", 24),
        ("DEAP eaSimple", 22),
    ):
        assert f"| **CLSO** : {rival} | {n} |" in page
    assert "GA on 22, Nevergrad's (1+1) on 22, DEAP's mu + lambda on 24 and eaSimple on 22" in text
    overhead = [
        json.loads(line)
        for line in (ROOT / "runs/2026-11-22_field/overhead.jsonl").read_text().splitlines()
    ]
    short, cost = (
        {
            r["rival"]: r["time_us"]
            for r in overhead
            if r["kind"] == "overhead" and r["n_evaluations"] == n
        }
        for n in (200, 5000)
    )
    assert f"engine alone {cost['clso-no-surrogate']:.0f} µs" in text
    assert (
        f"{short['clso']:.0f} µs over 200 evaluations and {cost['clso']:.0f} µs over 5,000" in text
    )
    assert (
        f"more than DEAP's {short['deap-ea-simple']:.0f} and {cost['deap-ea-simple']:.0f}" in text
    )
    assert all(
        cost["clso-no-surrogate"] < us for rival, us in cost.items() if not rival.startswith("clso")
    )
