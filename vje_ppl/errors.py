"""The error for whoever typed the command."""

from __future__ import annotations


class UserError(ValueError):
    """One sentence for the person who typed: what was expected, what came, what to do.

    The command line prints it without a traceback (with one under `debug=true`) and exits with 2.
    """
