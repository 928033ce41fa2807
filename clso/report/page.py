"""One HTML file with everything: pictures, outcome, comparison, the winner in words, settings. It
loads nothing."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from html import escape
from typing import Any

from clso.report.cost import joules, seconds
from clso.report.front import Front
from clso.report.reading import RunData
from clso.run.compare import compare_entries
from clso.run.criteria import verdict_sentence

__all__ = ["write_page"]

_TITLES = {
    "loss": "Loss by generation",
    "audits": "Surrogate: true against predicted",
    "energy": "Cost against loss",
    "genome": "Convergence of the genome",
    "pareto": "Pareto front",
    "states": "States of the winner",
}
_FITNESS_TITLES = {"loss": "Fitness by generation", "energy": "Cost against fitness"}
_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 1080px; margin: 2.5rem auto;
  padding: 0 1.25rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
p.note { color: #595959; margin-top: 0; overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; display: block; margin: 0 0 1.6rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin-bottom: 1rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid #e2e2e2;
  overflow-wrap: anywhere; }
thead th { color: #595959; font-weight: 600; } tbody th { font-weight: 600; white-space: nowrap; }
td.number { text-align: right; white-space: nowrap; }
details { margin-bottom: 1rem; } summary { cursor: pointer; font-weight: 600; }
"""


def write_page(data: RunData, pictures: Mapping[str, bytes]) -> str:
    """The page as text. `pictures` are PNG files by name."""
    title = f"CLSO run {data.path.resolve().name}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="note">{escape(_lead(data))}</p>',
        _table((), _outcome(data), "Outcome"),
    ]
    if data.baselines:
        body.append(_comparison(data))
    body += [_picture(_title(data, name), png) for name, png in pictures.items()]
    if data.front is not None:
        body.append(_front(data.front))
    body.append(_table(("gene", "allele"), data.alleles.items(), "The winner, in words"))
    if data.finalists:
        rows = [
            (str(i), _loss(loss), " ".join(map(str, g)))
            for i, (g, loss) in enumerate(data.finalists, 1)
        ]
        body.append(_table(("", "loss on valid", "genome"), rows, "Finalists"))
    body.append(
        _table(
            ("phase", "seconds", "joules, gross", "joules, net"),
            _phases(data),
            "Time and energy by phase",
        )
    )
    body.append(
        _folded("Settings (config.toml)", ((k, str(v)) for k, v in asdict(data.config).items()))
    )
    body.append(_folded("Made with (manifest.json)", _flat(data.manifest)))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _lead(data: RunData) -> str:
    config, options = data.config, data.manifest.get("options", {})
    # Of runs from before the library was an option.
    library = {k: data.result[k] for k in ("library",) if data.is_language and k in data.result}
    parts = [
        f"Space {config.space}",
        *(f"{k} {v}" for k, v in (library | options).items() if v != ""),
        f"seed {config.seed}",
    ]
    text = f"{config.data}, tokenizer {config.tokenizer}. " if data.is_language else ""
    noun = "loss" if data.is_language else "fitness"
    return f"{', '.join(parts)}. {text}Every {noun} on this page was measured; predictions appear only in the audits."


def _outcome(data: RunData) -> list[tuple[str, str]]:
    result, own = data.result, data.own
    rows = []
    if data.is_language:
        rows.append(
            (
                "test loss",
                f"{own.score:.4f} nats per token (the winner, read from disk; no selection saw it)",
            )
        )
        rows.append(("valid loss", f"{own.valid_loss:.4f} nats per token (chose the winner)"))
    else:
        rows.append(("best fitness", f"{own.score:.6g} (less is better)"))
    if data.optimum is not None:
        rows.append(("optimum", f"{data.optimum:.6g}"))
    if data.log_vocabulary is not None:
        rows.append(
            ("log(vocabulary)", f"{data.log_vocabulary:.4f} nats per token (knowing nothing)")
        )
    counts = result["counts"]
    rows.append(
        ("candidates", ", ".join(f"{_count(v)} {k.replace('_', ' ')}" for k, v in counts.items()))
    )
    if data.is_language and "tokens_forward" in result:
        rows.append(("tokens forward", _count(result["tokens_forward"])))
    rows.append(("energy", _energy(data)))
    rows.append(("time", f"{seconds(own.time_s)} on {own.device}"))
    return rows


def _energy(data: RunData) -> str:
    own = data.own
    if own.energy_j is None:
        return f"not measured, so nothing is claimed: {own.energy_reason}"
    net = "net not known" if own.energy_net_j is None else f"{own.energy_net_j:,.1f} J net"
    return f"{joules(own.energy_j)} gross, {net} ({own.energy_source})"


def _comparison(data: RunData) -> str:
    rows = [
        (
            e.name,
            _loss(e.valid_loss),
            _loss(e.score),
            "not measured" if e.energy_j is None else f"{e.energy_j:,.1f}",
            "not measured" if e.energy_net_j is None else f"{e.energy_net_j:,.1f}",
            f"{e.time_s:,.2f}",
            e.device,
        )
        for e in (data.own, *data.baselines)
    ]
    last = "test loss" if data.is_language else "fitness"
    head = ("", "valid loss", last, "joules, gross", "joules, net", "seconds", "device")
    table = _table(head, rows, "Against the baselines")
    if not data.is_language:
        return table
    verdicts = [compare_entries(data.own, other) for other in data.baselines]
    return table + "".join(f"<p>{escape(verdict_sentence(v))}.</p>" for v in verdicts)


def _front(front: Front) -> str:
    rows = [
        (str(i), *(f"{v:,.6g}" for v in values), " ".join(map(str, genome)))
        for i, (values, genome) in enumerate(
            zip(front.points.tolist(), front.genomes, strict=True), 1
        )
    ]
    return _table(
        ("", *(name.replace("_", " ") for name in front.objectives), "genome"), rows, "The front"
    )


def _phases(data: RunData) -> list[tuple[str, ...]]:
    energy = data.result["energy_j"]

    def of(kind: str, phase: str) -> str:
        value = energy[kind].get(phase) if energy else None
        if value is not None:
            return f"{value:,.1f}"
        reason = energy.get("reasons", {}).get(phase) if energy else None
        return f"not measured ({reason})" if reason else "not measured"

    return [
        (n, f"{t:,.2f}", of("gross", n), of("net", n)) for n, t in data.result["time_s"].items()
    ]


def _title(data: RunData, name: str) -> str:
    return _TITLES[name] if data.is_language else _FITNESS_TITLES.get(name, _TITLES[name])


def _picture(title: str, png: bytes) -> str:
    data, title = base64.b64encode(png).decode(), escape(title)
    return f'<h2>{title}</h2>\n<img alt="{title}" src="data:image/png;base64,{data}">'


def _table(head: Iterable[str], rows: Iterable[tuple[str, ...]], title: str = "") -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = []
    for first, *rest in rows:
        cells = "".join(_cell(text) for text in rest)
        lines.append(f"<tr><th>{escape(first)}</th>{cells}</tr>")
    caption = f"<h2>{escape(title)}</h2>\n" if title else ""
    thead = f"<thead><tr>{names}</tr></thead>" if names else ""
    return f"{caption}<table>{thead}<tbody>\n" + "\n".join(lines) + "\n</tbody></table>"


def _cell(text: str) -> str:
    kind = ' class="number"' if _is_number(text) else ""
    return f"<td{kind}>{escape(text)}</td>"


def _folded(title: str, rows: Iterable[tuple[str, ...]]) -> str:
    return f"<details><summary>{escape(title)}</summary>\n{_table((), rows)}</details>"


def _flat(value: Any, prefix: str = "") -> list[tuple[str, ...]]:
    """Nested JSON as (dotted name, text) rows."""
    if isinstance(value, dict) and value:
        return [
            row for k, v in value.items() for row in _flat(v, f"{prefix}.{k}" if prefix else str(k))
        ]
    if isinstance(value, list):
        value = "; ".join(
            ", ".join(map(str, v.values())) if isinstance(v, dict) else str(v) for v in value
        )
    return [(prefix, "-" if value is None else str(value))]


def _loss(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _is_number(text: str) -> bool:
    return text[:1].isdigit() and text.replace(",", "").replace(".", "").isdigit()
