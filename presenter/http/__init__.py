"""The HTTP server: uvicorn's, within bounds of our own.

server         where it listens, and how it stops
connections    all its connections: which of them has to go when they are too many
connection     one of them: its requests as they arrive, and its answers until they are sent
head           how a request begins: how large its head may be, and what its first line means
"""
