"""The protocol from end to end: `clso.prove.bench` does the work, piece by piece.

    self-test - idle - sweep of AdamW - models (test losses) - windows A B C C B A - curves -
    controls - idle - verdict

A is CLSO, B the reference AdamW, C the strongest one: against either, CLSO's windows are in the
order A B B A."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clso import plugins
from clso.baseline import Baseline
from clso.config import RunConfig
from clso.data import load_corpus
from clso.data.shared import in_memory
from clso.device import resolve_device
from clso.energy import EnergyMeter, open_meter
from clso.errors import ConfigError
from clso.prove.bench import Bench, Say
from clso.prove.config import ProveConfig
from clso.prove.context import ProofContext
from clso.prove.controls import make_job
from clso.prove.evidence import Evidence
from clso.prove.report import write_report
from clso.prove.sides import AdamwSide, ClsoSide
from clso.prove.sweep import plans
from clso.prove.verdict import make_verdict
from clso.run.manifest import describe_code, describe_device, describe_software
from clso.space.language import LanguageModelSpace

__all__ = ["prove"]


def prove(
    config: RunConfig,
    settings: ProveConfig,
    out: Path,
    *,
    progress: Say = lambda _: None,
    cache_dir: Path | None = None,
    make_meter: Callable[[str, str], EnergyMeter] = open_meter,
) -> dict[str, Any]:
    """Measure everything that is missing in `out`, write the report, and return the verdict.

    Args:
        config: CLSO's run, the text and the model sizes; `config.seed` is the first of the seeds.
        settings: what is measured.
        out: the proof's folder, new or begun with the same settings.
        progress: receives one line a piece of work.
        cache_dir: where token files are kept.
        make_meter: opens an energy source for (source, device).

    Raises:
        ClsoError: bad settings or data, a space that is no language model's, another machine than
            the one that the proof was begun on.
    """
    device = resolve_device(config.device)
    space = plugins.load("search_spaces", config.space)
    if not issubclass(space.subclass_of(object), LanguageModelSpace):
        raise ConfigError("a proof compares language models", got=config.space)
    adamw = plugins.load("baselines", "adamw")
    with Evidence.start(out, config, settings) as evidence:
        say = _clocked(progress)
        say("reading the text")
        corpus = load_corpus(config.data, config.tokenizer, cache_dir)
        with (
            make_meter(config.energy, device) as meter,
            tempfile.TemporaryDirectory(prefix="clso-prove-") as work,
        ):
            proof = ProofContext(
                config,
                corpus,
                in_memory(corpus),
                device,
                Path(work),
                meter,
                lambda: make_meter(config.energy, device),
            )
            kind: type[Baseline] = adamw.subclass_of(Baseline)
            training = kind(kind.Settings()).timed(make_job(proof), settings.max_steps)
            for plan in plans(settings):
                training.check(plan)
            evidence.manifest(_manifest(proof, {"space": space, "baseline": adamw}))
            sides = ClsoSide(proof), AdamwSide(proof, training)
            Bench(proof, settings, evidence, *sides, say).measure()
        return write_report(evidence, make_verdict(evidence, config, settings))


def _clocked(progress: Say) -> Say:
    begin = time.perf_counter()
    return lambda text: progress(f"[{time.perf_counter() - begin:6.1f} s] {text}")


def _manifest(proof: ProofContext, loaded: dict[str, plugins.Plugin]) -> dict[str, Any]:
    hardware, software = describe_device(proof.device), describe_software()
    name = (hardware.get("gpu") or {}).get("name") or hardware["cpu"]
    return {
        "agree": {"device": name, "corpus": proof.corpus.content_hash, "versions": software},
        "code": describe_code(),
        "software": software,
        "hardware": hardware,
        "plugins": {kind: p.describe() for kind, p in loaded.items()},
        "corpus": proof.corpus.spec,
        "energy": {"source": proof.meter.source, "reason": proof.meter.reason},
        "seed": proof.config.seed,
    }
