"""Working with RESTActions, Krateo's declarative HTTP calls, from the command line.

What is where:

    cli          the commands
    manifest     files into RestActions, and the line that everything is on; `helm` masks templates
    jq           programs evaluated, in a process of their own (`jq_process`); `expressions` are where they stand
    syntax       programs as trees: read by `parsing`, written by `printing`
    resolving    `resolve`: `resolver` does as snowplow does (`endpoints`, `sending`, `refusals`), `paging` page by page
    migrating    `migrate`: files in and out; `migration` their texts (`editing`, `widgets`)
    pattern      an old RESTAction understood: its filter evaluated on symbols (`evaluation`, `values`, `arrays`,
                 `idioms`, `listing`); `rewriting` has the new one for it, `consequences` what differs afterwards
    comparing    `compare`: all pages of both (`walking`), and the `comparison` of the two results
    linting      `lint`: `rules`, a function for each
"""
