"""One HTML file with everything: outcome, interactive plots, sortable tables, the winner's crystals,
settings. It loads nothing, and works without a network."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from clso.errors import ConfigError
from clso.report.cost import joules, missing_energy, no_claim, seconds
from clso.report.importances import Importances, gene_importances
from clso.report.plots import plots_of, slices_of
from clso.report.reading import RunData
from clso.report.sections import (
    Cell,
    Row,
    Section,
    Table,
    any_cell,
    flat,
    number,
    plain_table,
    render,
)
from clso.report.thumbnails import thumbnails
from clso.run.compare import compare_entries
from clso.run.criteria import verdict_sentence
from clso.run.folder import RunFolder
from clso.run.trials import read_trials
from clso.space.trials import Trial, Trials

__all__ = ["write_page"]

_MOST_ROWS = 500  # of trials: the best
_MOST_CELLS = 60  # genes with a column each


def write_page(data: RunData) -> str:
    """The page as text. Raises `RunFolderError` for a model that is not what the run wrote."""
    trials = read_trials(data.path)
    found, why_not = _importances(trials)
    plots = plots_of(data, trials, found)
    slices = {f"slice-{i}": pair for i, pair in enumerate(slices_of(trials, found))}
    sections = _sections(data, trials, found, why_not, set(plots))
    if slices:
        at = next((i for i, s in enumerate(sections) if s.id == "parallel"), 1) + 1
        note = (
            f"Each point is a measured {data.value_label}, each bar the median of an allele; values "
            "beyond the edges are drawn at them. The most important genes first."
        )
        named = [(name, key) for key, (name, _) in slices.items()]
        sections.insert(at, Section("slices", "By allele of each gene", [note], slices=named))
    figures = plots | {key: plot for key, (_, plot) in slices.items()}
    return render(
        title=f"CLSO run {data.path.resolve().name}",
        lead=_lead(data),
        cards=_cards(data),
        sections=sections,
        figures=figures,
    )


def _importances(trials: Trials) -> tuple[Importances | None, str]:
    """Importances, or why there are none."""
    try:
        return gene_importances(trials), ""
    except ConfigError as error:
        return None, f"{error}"


def _sections(
    data: RunData, trials: Trials, found: Importances | None, why_not: str, plots: set[str]
) -> list[Section]:
    front = sorted(name for name in plots if name.startswith("front-"))
    entries = (data.own, *data.baselines)
    unmeasured = missing_energy(entries)
    cost = "Joules" if unmeasured is None else "Seconds"
    claim = f"No claim on energy: {unmeasured}." if unmeasured else (no_claim(entries) or "")
    made = [
        Section("winner", "The winner", tables=[_outcome(data), _alleles(data)]),
        Section("loss", f"{data.measure.capitalize()} by generation", [_MEASURED], ["loss"]),
        Section("importances", "Which genes matter", [_about(found, why_not)], ["importances"]),
        Section("parallel", "Genomes, the best on top", [_PARALLEL], ["parallel"]),
        Section("audits", "Surrogate: true against predicted", _verdict(data), ["audits", "trust"]),
        Section(
            "energy",
            f"{cost} against {data.measure}",
            [claim] if claim else [],
            ["energy"],
            [_comparison(data), _phases(data)] if data.baselines else [_phases(data)],
        ),
        Section("front", "The front", [], [*front, "hypervolume"], _front(data)),
        Section("genome", "Convergence of the genome", [_GENOME], ["genome"]),
        Section("states", "States of the winner", [], ["states", "states-change"]),
        Section(
            "crystals",
            "Crystals of the winner",
            [_CRYSTALS],
            thumbnails=thumbnails(RunFolder(data.path)),
        ),
        Section("failures", "Failures", [], [], _failures(trials)),
        Section("trials", "Trials", [_TRIALS], [], [_trials(trials)]),
        Section("finalists", "Finalists", [], [], _finalists(data)),
        Section("made", "Made with", [], [], _made(data)),
    ]
    out = []
    for s in made:
        shown = [name for name in s.plots if name in plots]
        tables = [t for t in s.tables if t.rows]
        if shown or tables or s.thumbnails or (s.id == "importances" and why_not):
            out.append(Section(s.id, s.title, s.notes, shown, tables, s.slices, s.thumbnails))
    return out


_MEASURED = "All values were measured; none is a prediction."
_PARALLEL = "A line is a measured genome, by its alleles; the stronger its colour and, last, the warmer, the better."
_GENOME = "The share of the population that has the winner's allele."
_CRYSTALS = (
    "Matrices of the model in best/: each pixel is the number of largest size in its tile, red above "
    "zero and blue below."
)
_TRIALS = "Every measurement; `clso trials RUN --csv` writes them all."


def _about(found: Importances | None, why_not: str) -> str:
    if found is None:
        return f"None are given: {why_not}"
    return (
        f"Random forests of {found.n_trials:,} trials (seed {found.seed}) explain {found.r2:.0%} of the "
        "variance of ranks on trials that they have not seen. Permutation: what of it is lost when the "
        "gene is shuffled. Variance: the gene's own share over all genomes, as in functional ANOVA."
    )


def _lead(data: RunData) -> str:
    config, options = data.config, data.manifest.get("options", {})
    # Of runs from before the library was an option.
    library = {k: data.result[k] for k in ("library",) if data.is_language and k in data.result}
    parts = [
        f"Space {_name(config.space)}",
        *(f"{k} {_name(v)}" for k, v in (library | options).items() if v != ""),
        f"seed {config.seed}",
    ]
    text = f"{_name(config.data)}, tokenizer {config.tokenizer}. " if data.is_language else ""
    return f"{', '.join(parts)}. {text}Every {data.measure} on this page was measured; predictions appear only in the audits."


def _name(value: object) -> str:
    """A setting without the folders of a path in it: those are under Made with."""
    head, separator, tail = str(value).rpartition("/")
    return (
        f"{head.partition(':')[0]}:{tail}"
        if separator and ":" in head
        else tail
        if separator
        else str(value)
    )


def _cards(data: RunData) -> list[dict[str, str]]:
    own, counts = data.own, data.result["counts"]
    score = f"{own.score:.4f}" if data.is_language else f"{own.score:.6g}"
    unit = (
        "test loss, nats per token" if data.is_language else f"best {data.measure}, {data.better}"
    )
    failed = f", {counts['failed']:,} failed" if counts.get("failed") else ""
    cards = [
        (score, unit),
        (f"{counts['evaluated']:,}", f"candidates evaluated{failed}"),
        (f"{counts['screened_out']:,}", "screened out by the surrogate"),
        (seconds(own.time_s), f"on {own.device}"),
        ("not measured", "energy")
        if own.energy_j is None
        else (joules(own.energy_j), f"gross ({own.energy_source})"),
    ]
    return [{"value": value, "name": name} for value, name in cards]


def _outcome(data: RunData) -> Table:
    result, own = data.result, data.own
    rows = []
    if data.is_language:
        rows += [
            (
                "test loss",
                f"{own.score:.4f} nats per token (the winner, read from disk; no selection saw it)",
            ),
            ("valid loss", f"{own.valid_loss:.4f} nats per token (chose the winner)"),
        ]
    else:
        rows.append((f"best {data.measure}", f"{own.score:.6g} ({data.better})"))
    if data.optimum is not None:
        rows.append(("optimum", f"{data.optimum:.6g}"))
    if data.log_vocabulary is not None:
        rows.append(
            ("log(vocabulary)", f"{data.log_vocabulary:.4f} nats per token (knowing nothing)")
        )
    counted = (f"{_count(v)} {k.replace('_', ' ')}" for k, v in result["counts"].items())
    rows.append(("candidates", ", ".join(counted)))
    if data.is_language and "tokens_forward" in result:
        rows.append(("tokens forward", _count(result["tokens_forward"])))
    rows += [("energy", _energy(data)), ("time", f"{seconds(own.time_s)} on {own.device}")]
    return plain_table((), rows)


def _alleles(data: RunData) -> Table:
    """The winner in words; of genes that make no difference in it no allele is said."""
    off = set(data.result["best"].get("inactive", ()))
    rows = [Row([Cell(gene), Cell(allele)], gene in off) for gene, allele in data.alleles.items()]
    return Table(("gene", "allele"), rows)


def _energy(data: RunData) -> str:
    own = data.own
    if own.energy_j is None:
        return f"not measured, so nothing is claimed: {own.energy_reason}"
    net = "net not known" if own.energy_net_j is None else f"{own.energy_net_j:,.1f} J net"
    return f"{joules(own.energy_j)} gross, {net} ({own.energy_source})"


def _comparison(data: RunData) -> Table:
    rows = [
        Row(
            [
                Cell(e.name),
                number(e.valid_loss, ".4f"),
                number(e.score, ".4f"),
                number(e.energy_j, ",.1f", "not measured"),
                number(e.energy_net_j, ",.1f", "not measured"),
                number(e.time_s, ",.2f"),
                Cell(e.device),
            ]
        )
        for e in (data.own, *data.baselines)
    ]
    last = "test loss" if data.is_language else data.measure
    head = ("side", "valid loss", last, "joules, gross", "joules, net", "seconds", "device")
    verdicts = (
        " ".join(
            f"{verdict_sentence(compare_entries(data.own, other))}." for other in data.baselines
        )
        if data.is_language
        else ""
    )
    return Table(head, rows, left_out=verdicts)


def _verdict(data: RunData) -> list[str]:
    from clso.report.audits import verdict_on

    return [
        "A prediction only decides which candidates are measured; it is never a result.",
        verdict_on(data),
    ]


def _front(data: RunData) -> list[Table]:
    if data.front is None:
        return []
    names = [name.replace("_", " ") for name in data.front.objectives]
    rows = [
        Row([*(number(v, ",.6g") for v in values), Cell(" ".join(map(str, genome)))])
        for values, genome in zip(data.front.points.tolist(), data.front.genomes, strict=True)
    ]
    return [Table((*names, "genome"), rows)]


def _phases(data: RunData) -> Table:
    energy = data.result["energy_j"]

    def of(kind: str, phase: str) -> Cell:
        value = energy[kind].get(phase) if energy else None
        reason = energy.get("reasons", {}).get(phase) if energy else None
        return number(value, ",.1f", f"not measured ({reason})" if reason else "not measured")

    rows = [
        Row([Cell(n), number(t, ",.2f"), of("gross", n), of("net", n)])
        for n, t in data.result["time_s"].items()
    ]
    return Table(("phase", "seconds", "joules, gross", "joules, net"), rows)


def _failures(trials: Trials) -> list[Table]:
    """The failures by their last line, most frequent first."""
    by_reason: dict[str, list[Trial]] = {}
    for trial in trials.trials:
        if not trial.evaluation.ok:
            lines = (trial.evaluation.error or trial.evaluation.status).strip().splitlines()
            by_reason.setdefault(lines[-1] if lines else "failed", []).append(trial)
    most = sorted(by_reason.items(), key=lambda pair: -len(pair[1]))
    rows = []
    for reason, failed in most[:_MOST_ROWS]:
        first = failed[0].evaluation
        words = zip((g.name for g in trials.genes), trials.labels(first.genome), strict=True)
        genome = ", ".join(f"{name} {value}" for name, value in words)
        rows.append(
            Row(
                [
                    number(len(failed), ",d"),
                    Cell(first.status),
                    Cell(reason[:300], pre=f"{genome}\n\n{first.error or ''}"[:6000]),
                ]
            )
        )
    return [Table(("candidates", "status", "reason, and the first of them"), rows)]


def _trials(trials: Trials) -> Table:
    """The best, each with its alleles."""
    rows = sorted(
        zip(trials.trials, trials.rows(), strict=True),
        key=lambda pair: trials.badness(pair[0].evaluation),
    )
    columns = [c for c in trials.columns if c not in ("error", "time_s", "tokens")]
    if len(trials.genes) > _MOST_CELLS:
        columns = [c for c in columns if c not in set(trials.gene_columns[_MOST_CELLS:])]
    shown = [Row([any_cell(row[c]) for c in columns]) for _, row in rows[:_MOST_ROWS]]
    left = len(rows) - len(shown)
    notes = [f"{left:,} worse ones are not shown."] if left else []
    if len(trials.genes) > _MOST_CELLS:
        notes.append(f"The first {_MOST_CELLS} of {len(trials.genes):,} genes.")
    return Table(columns, shown, left_out=" ".join(notes))


def _finalists(data: RunData) -> list[Table]:
    rows = [
        Row([number(i, "d"), number(loss, ".4f", "not finite"), Cell(" ".join(map(str, g)))])
        for i, (g, loss) in enumerate(data.finalists, 1)
    ]
    return [Table(("rank on fitness", "loss on valid", "genome"), rows)]


def _made(data: RunData) -> list[Table]:
    settings = [(k, str(v)) for k, v in asdict(data.config).items()]
    manifest = {k: v for k, v in data.manifest.items() if k != "genes"}
    return [
        plain_table((), settings, "Settings (config.toml)"),
        plain_table((), flat(manifest), "Code, machine, plugins, text (manifest.json)"),
    ]


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
