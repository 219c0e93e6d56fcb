"""A platform for orlop that executes nothing and writes down what would be done."""

from __future__ import annotations

from orlop_dry_run.platform import DryRun

__all__ = ["DryRun"]
