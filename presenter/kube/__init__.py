"""The Kubernetes edge: what a cluster's API server says, written to the cache. The only importer of kubernetes_asyncio.

Watching:

    supervisor      polls discovery, and keeps a reflector and a reconciler for every watch
    discovery       the resource types that the API server has
    reflector       follows one watch: list, then watch, into the cache's writer
    read_ahead      a watch's events in batches, read within a budget of bytes
    reconciler      compares the cache with the cluster now and then
    objects         from an object's JSON to what is cached of it; `resource_version`, which state of it is older
    timings         how long all of these wait; `metrics` is what waits to be written

Requests:

    client          lists, watches and single requests; `cluster_errors` are their failures
    login           the account that they are made with; `kubeconfig` merges the files that name one
    library         the parts of kubernetes_asyncio that are used
    subject_access_reviews    asks the API server who may see what
"""
