"""Who may see what: from a bearer token to an identity, and from an identity to a scope.

identity        from an Authorization header to an identity; `keys` are the public keys of tokens
authorizer      from an identity to a scope: by RBAC's rules (`RbacAuthorizer`), over several clusters (`decide`)
rbac            RBAC's rules, pure; `rules` keeps each cluster's as fresh as the cache
review_authorizer    the other authorizer: each cluster's API server is asked, and its answers are remembered
lru             a bounded cache, for verified tokens, grants and answers
metrics         times of rules and reviews
"""
