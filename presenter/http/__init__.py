"""The HTTP server: httptools parses, uvloop sends, the bounds are our own.

server         where it listens, and how it stops
connections    all its connections: which of them has to go when they are too many
connection     one of them: its requests as they arrive, and its answers until they are sent
exchange       one request and its answer, as an ASGI application receives the one and sends the other
head           how a request begins: how large its head may be, and what its first line means
"""
