"""The commands, a module for each: its options, what it does and what it prints.

`main` knows their names. It imports the module of a command when that is run, so that `presenter --help` does not wait
for what only some of them need.

    run, watch, serve     the service: `app`, as a whole or one of its sides
    migrate, forget       what changes the database
    status, can_i, explain    what asks the database: how the cache is, who may see what, how a page is read
    token, settings       what needs no database
    migrate_values        what needs nothing: Helm values of the Go services for this chart
    demo, sandbox         the whole system on this machine, and its cluster alone

What several of them need:

    process               the process of a command: its settings, its log, and how it is stopped
    database, embedded    the PostgreSQL of a command: the one that is configured, or a private one
    go_values             how values of the Go services' charts translate
    workers               `serve --workers`: several serving processes on one port
    showcase, guide       `demo`: what it brings up, and what it tells to try

`presenter restaction …` has its commands in `presenter/restaction`.
"""
