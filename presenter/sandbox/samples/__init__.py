"""Sample data, written for this project: `portal` says how much of what, the others how each object looks."""

from presenter.sandbox.samples.portal import fill

__all__ = ["fill"]
