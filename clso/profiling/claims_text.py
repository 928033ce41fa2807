"""The judged claims as Markdown, for the README and the docs."""

from __future__ import annotations

from collections.abc import Sequence

from clso.profiling.claims import TOLERANCE, Judgement
from clso.profiling.run import Profile
from clso.profiling.table import markdown_rows

__all__ = ["claims_markdown"]

_HEAD = ("claim", "published", "measured", "verdict", "where, or why not")


def claims_markdown(profile: Profile, judgements: Sequence[Judgement]) -> str:
    """The verdicts, under what they were measured with, and the measured rows they come from."""
    counts = dict.fromkeys(("held", "did not hold", "cannot be tested"), 0)
    for judgement in judgements:
        counts[judgement.verdict] += 1
    lines = [
        "The claims were published without a reproducible measurement: neither sizes, nor batch, nor hardware are known. So",
        f"ratios and shapes are compared, not absolutes; a ratio holds within {TOLERANCE:.0%} of the published one, and",
        "a claim that names no length has to hold at every measured one.",
        "",
        _setting(profile),
        "",
        f"{counts['held']} held, {counts['did not hold']} did not hold, {counts['cannot be tested']} cannot be tested.",
        "",
        "| " + " | ".join(_HEAD) + " |",
        "|---" * len(_HEAD) + "|",
    ]
    lines += [
        f"| {j.claim} | {j.published} | {j.measured} | **{j.verdict}** | {j.reason} |"
        for j in judgements
    ]
    return "\n".join(lines) + "\n\nThe rows behind it:\n\n" + markdown_rows(profile.rows)


def _setting(profile: Profile) -> str:
    s, hardware = profile.settings, profile.manifest["hardware"]
    where = s.device
    if "gpu" in hardware:
        where = hardware["gpu"]["name"]
    elif {"cpu", "torch_threads"} <= hardware.keys():
        where = f"{hardware['cpu']}, {hardware['torch_threads']} threads"
    widths = sorted({m["d_model"] for m in profile.models})
    sizes = f"{s.n_layers} layers, {s.n_heads} heads, d_model {', '.join(map(str, widths))}, vocabulary {s.vocab_size}"
    kind = f"{s.n_classes} classes" if s.n_classes else "language models"
    torch_version = profile.manifest["software"]["torch"]
    stopped = " The profile was stopped early." if profile.interrupted else ""
    return (
        f"Measured on {s.device} ({where}), torch {torch_version}, {s.dtype}, batch {s.batch}: {kind}, {sizes}, at least "
        f"{s.repeats} repetitions. Memory: {profile.manifest['memory']}.{stopped}"
    )
