"""verdict.json, report.md and the pictures, from a proof's rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from clso.config import RunConfig
from clso.prove.config import ProveConfig
from clso.prove.evidence import Evidence
from clso.prove.verdict import OPPONENTS, cost_key, make_verdict
from clso.run.criteria import CRITERIA, OWN_CRITERIA

__all__ = ["headline_table", "report_text", "rewrite_report", "write_report"]

_NAMES = {
    "clso": "CLSO, the whole run",
    "adamw_best": "strongest AdamW, at its best loss",
    "adamw_reference": "reference AdamW",
}


def write_report(evidence: Evidence, verdict: dict[str, Any]) -> dict[str, Any]:
    """Write everything beside the record; return the verdict."""
    from clso.prove.pictures import draw

    evidence.write_json("verdict.json", verdict)
    pictures = draw(evidence, verdict)
    for name, png in pictures.items():
        (evidence.path / f"{name}.png").write_bytes(png)
    evidence.write_text("report.md", report_text(evidence, verdict, list(pictures)))
    return verdict


def rewrite_report(path: Path) -> dict[str, Any]:
    """Verdict, report and pictures of a proof that was made, from its record alone; return the
    verdict.

    Raises `RunFolderError` if `path` holds no proof.
    """
    evidence = Evidence.read(path)
    settings = path / "config.toml"
    return write_report(
        evidence,
        make_verdict(evidence, RunConfig.from_toml(settings), ProveConfig.from_toml(settings)),
    )


def headline_table(verdict: dict[str, Any]) -> str:
    """The figures that matter, as a Markdown table, which README.md shows as well."""
    ratio = verdict["energy_ratio"]
    rows = [
        (
            _NAMES[side],
            f"{verdict[side]['test_loss']:.3f}",
            _figure(verdict[side]["energy_j"]),
            _figure(verdict[side]["energy_net_j"]),
            f"{verdict[side]['time_s']:.3f}",
        )
        for side in _NAMES
    ]
    energy = (
        "No energy claim is made: " + str(verdict["energy_reason"])
        if ratio is None
        else f"CLSO's joules over the strongest AdamW's: {_ratio(ratio)}"
    )
    head = ("", "test loss (nats per token)", "joules, gross", "joules, net of idle", "seconds")
    return _table(head, rows) + f"\n{energy}.\n"


def report_text(evidence: Evidence, verdict: dict[str, Any], pictures: Sequence[str]) -> str:
    """The report as Markdown."""
    parts = [
        f"# {'Quick trial of the energy proof' if verdict['quick'] else 'Energy proof'}: {verdict['device']}",
        _lead(evidence, verdict),
        "## Result\n\n" + headline_table(verdict),
        "## Criteria\n\n" + _criteria(verdict),
        "## Paired tests\n\n" + _tests(verdict),
        "## Cost to reach a loss\n\n" + _targets(verdict),
        *(f"![{name}]({name}.png)" for name in pictures),
        "## Controls\n\n" + _controls(verdict),
        "## The sweep of AdamW\n\n" + _sweep(evidence, verdict),
        "## Windows\n\n" + _windows(evidence, verdict),
        "## Meter\n\n" + _meter(evidence, verdict),
        "## How it was measured\n\n" + _method(evidence),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _lead(evidence: Evidence, verdict: dict[str, Any]) -> str:
    corpus = evidence.read_json("manifest.json")["corpus"]
    n = corpus["n_tokens"]
    text = (
        f"{verdict['seeds']} paired seeds on {verdict['device']}. Text: {corpus['data'].partition(':')[0]}, tokenizer "
        f"{corpus['tokenizer']} ({corpus['vocab_size']:,} ids): {n['train']:,} tokens of train, {n['valid']:,} of valid, "
        f"{n['test']:,} of test. Losses are nats per token, measured from disk in float32."
    )
    if verdict["protocol_met"]:
        return text + "\n\nThe protocol was met in full."
    lines = "\n".join(f"- {d}" for d in verdict["deviations"])
    return text + f"\n\n**This does not meet the protocol:**\n{lines}"


def _criteria(verdict: dict[str, Any]) -> str:
    rows = [
        (
            "this project's own bar" if c.name == "own_bar" else c.name,
            "better" if c.loss_at_most == 1 else f"within {c.loss_at_most - 1:.0%}",
            f"{'>=' if c.or_equal else '>'} {c.energy_saved:.0%}",
            "-" if c.speed_up is None else f"{c.speed_up:g}x",
            *_met(verdict, c.name),
        )
        for c in (*CRITERIA, *OWN_CRITERIA)
    ]
    head = ("", "loss", "energy saved", "speed", *(f"against {_NAMES[o]}" for o in OPPONENTS))
    lines = []
    for o in OPPONENTS:
        a = verdict["against"][o]
        line = f"- Against the {_NAMES[o]}: loss ratio {a['loss_ratio']:.4f}, {a['speed_up']:.2f} times the speed"
        if a["energy_ratio"]:
            line += f", gross energy ratio {_ratio(a['energy_ratio'])}"
        if a["energy_net_ratio"]:
            line += f", net energy ratio {_ratio(a['energy_net_ratio'])}"
        lines.append(line + ".")
    return _table(head, rows) + "\n" + "\n".join(lines)


def _met(verdict: dict[str, Any], name: str) -> list[str]:
    if not verdict["energy_claim"]:
        return ["no claim"] * len(OPPONENTS)
    return ["**met**" if verdict["against"][o]["criteria"][name] else "not met" for o in OPPONENTS]


def _tests(verdict: dict[str, Any]) -> str:
    rows = []
    for o in OPPONENTS:
        for what, t in verdict["against"][o]["tests"].items():
            span = f"{t['median_difference']:.4g} ({t['low']:.4g} to {t['high']:.4g})"
            wins = f"{t['own_lower']} of {t['n']}"
            rows.append(
                (
                    f"{what} against {_NAMES[o]}",
                    span,
                    wins,
                    f"{t['sign_p']:.4g}",
                    f"{t['wilcoxon_p']:.4g}",
                )
            )
    head = (
        "CLSO minus AdamW",
        "median difference (95 %)",
        "CLSO lower",
        "sign test p",
        "Wilcoxon p",
    )
    least = verdict["against"]["adamw_best"]["tests"]["test_loss"]["smallest_p"]
    return (
        _table(head, rows) + f"\nTwo-sided; {verdict['seeds']} pairs give p = {least:.4g} at best."
    )


def _targets(verdict: dict[str, Any]) -> str:
    unit = "joules" if cost_key(verdict) == "energy_j" else "seconds"
    rows = [
        (
            f"{t['target']}'s",
            f"{t['valid_loss']:.4f}",
            _reached(t["clso"], unit),
            _reached(t["adamw"], unit),
        )
        for t in verdict["targets"]
    ]
    text = (
        "The least that a run cost which reached it, among everything measured; a miss is infinite. AdamW's is the less of "
        "whole trainings that were measured for themselves, and of the sweep's on its sample of valid, their cost shared "
        "out by steps.\n\n"
    )
    return text + _table(("loss", "on valid", f"CLSO, {unit}", f"AdamW, {unit}"), rows)


def _reached(cost: float | None, unit: str) -> str:
    return "∞ (never)" if cost is None else f"{cost:,.1f}" if unit == "joules" else f"{cost:.3f}"


def _controls(verdict: dict[str, Any]) -> str:
    rows = [
        (
            c["name"] + (" *" if c["shared_by"] > 1 else ""),
            str(c["seeds"]),
            f"{c['valid_loss']:.4f}",
            f"{c['test_loss']:.4f}",
            _figure(c["energy_j"]),
            f"{c['time_s']:.2f}",
            f"{c['cpu_time_s']:.2f}",
        )
        for c in verdict["controls"]
    ]
    head = (
        "",
        "seeds",
        "valid loss",
        "test loss",
        "joules of the device, gross",
        "seconds",
        "CPU seconds",
    )
    text = _table(head, rows)
    if any(c["shared_by"] > 1 for c in verdict["controls"]):
        text += "\n\\* The cost of all n-grams together; they run on the CPU, whose joules are not in the device's."
    return (
        text
        + "\nControls were run once a seed, not in windows by repetition: their joules are rough."
    )


def _sweep(evidence: Evidence, verdict: dict[str, Any]) -> str:
    rows = []
    for row in evidence.of_type("sweep"):
        known = [(loss, step) for step, loss in row["curve"] if loss is not None]
        loss, step = min(known, default=(None, None))
        found = ("diverged", "-") if loss is None else (f"{loss:.4f}", str(step))
        own = ", ".join(f"{name} {value}" for name, value in row.get("variant", {}).items())
        rows.append(
            (
                f"{row['lr']:g}",
                row["schedule"] + (f" ({own})" if own else ""),
                f"{row['steps']:,}",
                *found,
            )
        )
    cost = verdict["sweep"]
    energy = "energy not measured" if cost["energy_j"] is None else f"{cost['energy_j']:,.0f} J"
    text = (
        f"The strongest is {verdict['adamw_best']['plan']}. It is charged for exactly these steps, without the search for "
        f"them: the sweep's own cost was {energy} and {cost['time_s']:.1f} s in {cost['trainings']} trainings. Losses here "
        "are on the sample of valid that also chooses among CLSO's finalists. A constant schedule's shorter lengths are "
        "prefixes of its longest.\n\n"
    )
    return text + _table(("rate", "schedule", "steps", "best loss on valid", "at step"), rows)


def _windows(evidence: Evidence, verdict: dict[str, Any]) -> str:
    rows = []
    for row in evidence.of_type("window"):
        n, energy = row["n_runs"], row["energy_j"]
        per_run = ("-", "-", "-")
        if energy is not None:
            per_run = (f"{energy / n:,.1f}", f"{energy / row['time_s']:,.0f}", f"{energy:,.0f}")
        name, time_s, cpu_s = row["key"].removeprefix("window/"), row["time_s"], row["cpu_time_s"]
        rows.append(
            (name, str(n), f"{time_s:.1f}", f"{time_s / n:.3f}", f"{cpu_s / n:.3f}", *per_run)
        )
    head = ("window", "runs", "seconds", "s a run", "CPU s a run", "J a run", "mean W", "joules")
    idle = [
        f"{r['when']} {r['idle_w']:.1f} W"
        for r in evidence.of_type("idle")
        if r["idle_w"] is not None
    ]
    text = (
        f"\nIdle: {', '.join(idle)}; net joules use their mean."
        if idle
        else "\nIdle power was not measured."
    )
    spread = _spread(evidence)
    return _table(head, rows) + text + (f"\n{spread}" if spread else "")


def _spread(evidence: Evidence) -> str:
    """How far repetitions of one seed lie apart: the same seed is the same run."""
    found: dict[tuple[str, int], list[float]] = {}
    for row in evidence.of_type("window"):
        for seed, _, _, loss in row["runs"]:
            if loss is not None:
                found.setdefault((row["arm"], seed), []).append(loss)
    worst: dict[str, float] = {}
    for (arm, _), losses in found.items():
        worst[arm] = max(worst.get(arm, 0.0), max(losses) - min(losses))
    text = ", ".join(f"{arm} {value:.2g}" for arm, value in worst.items())
    return (
        f"Largest difference in valid loss between repetitions of one seed: {text}." if text else ""
    )


def _meter(evidence: Evidence, verdict: dict[str, Any]) -> str:
    test = verdict["self_test"]
    rows = [
        (
            name,
            {True: "passed", False: "**failed**", None: "does not apply"}[c["ok"]],
            _number(c["value"]),
            c["detail"],
        )
        for name, c in test["checks"].items()
    ]
    text = f"Source: {test['source']}.\n\n" + _table(
        ("self-test, under load", "", "found", "what"), rows
    )
    traced = sum(bool(row["power_w"]) for row in evidence.of_type("window"))
    return text + f"\nPower traces: {traced} of {len(evidence.of_type('window'))} windows."


def _method(evidence: Evidence) -> str:
    sessions = evidence.of_type("session")
    warm = sessions[0]
    made = ", ".join(f"{k} {v}" for k, v in warm["adamw"].items() if v is not None)
    cards = len({s["card"] for s in sessions})
    breaks = (
        "one session"
        if len(sessions) == 1
        else f"{len(sessions)} sessions, on {cards} different device(s)"
    )
    first_s = f"AdamW {warm['adamw_warm_up_s']:.1f} s, CLSO {warm['clso_warm_up_s']:.1f} s"
    return (
        "A window starts with token arrays in host memory and repeats whole runs, round-robin over the seeds in whole "
        "cycles, until it is long enough; the device is waited for after every run. A CLSO run is everything: run folder, "
        "statistics, library, search, finalists, writing the winner and scoring it from disk on the "
        "sample of valid that chose it. An AdamW run is "
        "uploading, initialising, training and scoring valid. Order: CLSO, reference, strongest, strongest, reference, "
        "CLSO, so that against either the order is A B B A. Outside: reading and tokenizing the text, the context, "
        f"compilation and first runs ({first_s}), and the one reading of "
        "test for every seed, and removing run folders. Energies of a side are medians over seeds of the means over its "
        "whole runs; intervals are 95 % bootstrap intervals over paired seeds and windows. Joules are the device's; CPU "
        "time is given in seconds "
        f"beside them. Measured in {breaks}. AdamW: {made}."
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _figure(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,.1f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _ratio(ratio: dict[str, Any]) -> str:
    return f"{ratio['value']:.3f} (95 %: {ratio['low']:.3f} to {ratio['high']:.3f})"
