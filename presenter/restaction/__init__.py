"""Working with RESTActions, Krateo's declarative HTTP calls, from the command line.

What is where:

    cli          the commands; each has a module: `resolve`, `migrate`, `compare`, `lint`
    manifest     files into RestActions, and the line that everything is on; `helm` masks templates
    jq           programs evaluated, in a process of their own (`jq_process`), as `gojq` takes them (`gojq.jq`)
    syntax       programs as trees: read by `jq_parser`, written by `jq_printer`
    resolver     a RESTAction resolved as snowplow does (`endpoints`, `sending`, `refusals`, `numbers`), `paging` page
                 by page
    migrator     manifests migrated as texts (`line_edits`, `widgets`)
    understanding    what an old RESTAction does: its filter evaluated on symbols (`evaluation`, `values`, `arrays`,
                 `idioms`, `list_path`); `rewriting` has the new one for it, and what differs afterwards
    differences  what two results have in common, and what not
    rules        what `lint` knows to go wrong, a function for each thing
"""
