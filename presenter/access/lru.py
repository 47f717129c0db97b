"""A bounded cache, from which what was used longest ago is dropped first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class LruCache(Generic[_Key, _Value]):
    """Values by key: as many of those used last as weigh `capacity` together. Each weighs 1, or what `weigh` says."""

    def __init__(self, capacity: int, weigh: Callable[[_Key, _Value], int] = lambda *_: 1) -> None:
        self._values: OrderedDict[_Key, _Value] = OrderedDict()
        self._capacity = capacity
        self._weigh = weigh
        self._weight = 0

    @property
    def weight(self) -> int:
        """What all of them weigh together."""
        return self._weight

    def get(self, key: _Key) -> _Value | None:
        """The value, which now is the one used last."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: _Key, value: _Value) -> None:
        """Keep a value, in place of the one that the key had."""
        self.discard(key)
        self._values[key] = value
        self._weight += self._weigh(key, value)
        while self._weight > self._capacity:
            self.discard(next(iter(self._values)))

    def discard(self, key: _Key) -> None:
        """Drop a value, if it is there."""
        value = self._values.pop(key, None)
        if value is not None:
            self._weight -= self._weigh(key, value)

    def clear(self) -> None:
        """Drop all."""
        self._values.clear()
        self._weight = 0
