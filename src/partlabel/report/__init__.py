"""The report of a run: one HTML file to look at, with everything it needs inside."""

from partlabel.report.page import write_report

__all__ = ["write_report"]
