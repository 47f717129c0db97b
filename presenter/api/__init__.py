"""HTTP endpoints: what callers ask for becomes a query, what comes back becomes JSON.

Every request:

    application     goes to the endpoint of its route, is observed, and its failure becomes a Status
    routes          what a route is: which endpoint answers which method of which path
    status          errors as Kubernetes Status objects
    cors            which pages of a browser may read answers

The endpoints:

    resources       `/resources`: who asks → what for → what may be seen → one page → JSON
    changes         `/changes`: the same questions, and a stream of what changes
    pages           the numbered pages of `/resources`
    health          `/livez`, `/readyz`, `/metrics`, answered from memory; `metrics` is what the cache has to tell
    documentation   `/docs` and `/openapi.json`; `openapi` makes the document

What `/resources` is made of:

    parameters      each parameter, declared once, by `declarations`: its parsing, its 400, its part of OpenAPI
    asking          what a list asks for, and what of it its caller may see
    selection       which cached types a request is about
    inflight        how many requests are worked on at once
    answers         rows as items, in JSON; `freshness`, how old they may be, as headers
    parts           answers that are made and sent part by part, whose memory is given back meanwhile
    encodings       whether an answer goes out compressed
    entity_tags     what tells that the caller has an answer already
    versions        whether objects can be given in another version than the cached one
    hot_pages       pages as they went out, which are sent again while nothing changes
"""
