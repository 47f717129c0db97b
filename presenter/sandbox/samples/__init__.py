"""Sample data, written for this project.

portal      how many objects of each type
widgets     widgets and RESTActions
workloads   compositions, their definitions, and what they install
draft       the names, words and times that all of them draw from
"""

from presenter.sandbox.samples.portal import fill

__all__ = ["fill"]
