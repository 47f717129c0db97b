"""What `lint` knows to go wrong: one small function for each thing.

`actions`, `calls`, `filters`, `programs` and `widgets` are the rules; `subject` is what they look at. `queries` finds
out what calls ask for, by evaluation; `trees` tell what can be told of a program by reading it.
"""

from presenter.restaction.rules import actions, calls, filters, programs
from presenter.restaction.rules.subject import Rule

RULES: tuple[Rule, ...] = (*actions.RULES, *calls.RULES, *filters.RULES, *programs.RULES)
"""All rules about one RESTAction."""
