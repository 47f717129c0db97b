"""The Kubernetes edge: what a cluster's API server says, written to the cache.

`supervisor` follows discovery and keeps one `reflector` per watch; a reflector reads through `client` and
writes through the cache's writer. The only importer of kubernetes_asyncio.
"""
