"""The report of a run: one HTML file that needs no network, folded from journal and samples."""

from alephtx.serve.report.page import write_report

__all__ = ["write_report"]
