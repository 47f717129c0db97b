"""The commands: `main` has their options, and each calls one thing.

can_i, explain, status    what the commands of these names find out and print
demo, guide               the demo and the sandbox: what they bring up, and what they tell to try
embedded                  a private PostgreSQL when none is configured
settings_reference        the settings as Markdown
workers                   several serving processes on one port
"""
