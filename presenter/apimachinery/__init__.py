"""Kubernetes' own rules as pure functions, in the names of k8s.io/apimachinery: the service and the sandbox share them.

`labels` and `fields` are the selectors, `list_options` and `continuation` what a list or watch is asked for,
`negotiation` the media types, `tables` (with `jsonpath`) and `metadata` the forms that objects are converted to,
`discovery` the documents that say which types there are, `status` and `errors` what goes wrong, `validation` what
values may look like, and `golang` how Go prints values, since clients compare texts.

Held against a real kube-apiserver by `tests/apimachinery`.
"""
