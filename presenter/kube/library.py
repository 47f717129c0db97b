"""The parts of kubernetes_asyncio that are used: how to log in to a cluster, and its HTTP client.

Its packages import all their 700 models and 60 APIs, 38 MB in each process that watches, and none of them is used here:
objects come and go as bytes. So these packages are not executed until something else in them is used.
"""

from __future__ import annotations

import logging
import sys
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any


def _on_demand(name: str) -> ModuleType:
    """A package that is executed when an attribute is missing, not when it or a module in it is imported."""
    if name in sys.modules:
        return sys.modules[name]
    spec = find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    package, loader = module_from_spec(spec), spec.loader

    def execute_for(attribute: str) -> Any:
        if find_spec(f"{name}.{attribute}"):
            raise AttributeError(attribute)  # by which `from … import …` knows that it has to import a module
        del package.__dict__["__getattr__"]
        loader.exec_module(package)
        return getattr(package, attribute)

    package.__dict__["__getattr__"] = execute_for
    sys.modules[name] = package
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, package)
    return package


_on_demand("kubernetes_asyncio")
_client = _on_demand("kubernetes_asyncio.client")
_on_demand("kubernetes_asyncio.client.models")

# kubernetes_asyncio.config looks for these in their package.
from kubernetes_asyncio.client import configuration  # noqa: E402 - not before the above

_client.__dict__["Configuration"] = configuration.Configuration

from kubernetes_asyncio.client import api_client  # noqa: E402 - not before the above

_client.__dict__["ApiClient"] = api_client.ApiClient

from kubernetes_asyncio import config  # noqa: E402 - not before the above

# It logs what it raises; here that is logged once, by the caller.
logging.getLogger(config.__name__).setLevel(logging.CRITICAL)

# None of these carries annotations.
Configuration: Any = configuration.Configuration
ApiClient: Any = api_client.ApiClient
ConfigException = config.ConfigException
load_incluster_config: Any = config.load_incluster_config
load_kube_config_from_dict: Any = config.load_kube_config_from_dict
