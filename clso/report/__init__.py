"""Pictures of a finished run, drawn from its folder alone, and one HTML page that holds
everything."""

from clso.report.draw import draw_report

__all__ = ["draw_report"]
