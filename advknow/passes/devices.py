"""Many devices and many processes: the examples of a batch divided, everything else replicated.

A sharding is a `NamedSharding` of the batch axis over all devices (`data_sharding`). Batches are
placed with it, variables are replicated, and XLA divides the work; sums come out whole. Results do
not depend on the number of devices beyond the rounding of sums taken in another order. With several
processes (`jax.distributed`) each has the whole data and places its part; what comes back to the
host is the same on all.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from advknow import validate
from advknow.typing import Array, PyTree, Sharding

AXIS = "data"
T = TypeVar("T")


def data_sharding(num_devices: int | None = None) -> Sharding:
    """The sharding of a batch's first axis over so many devices, None for a single one.

    Args:
      num_devices: 1 .. the number of devices there are; all by default, and always all with several
        processes.

    Raises:
      ValueError, TypeError: more devices than there are, or fewer with several processes.
    """
    found = jax.devices()
    if num_devices is not None:
        validate.integer("num_devices", num_devices, minimum=1, maximum=len(found))
        if jax.process_count() > 1 and num_devices != len(found):
            raise ValueError(
                f"num_devices={num_devices} with {jax.process_count()} processes: all {len(found)} "
                "devices take part, leave it out."
            )
        found = found[:num_devices]
    if len(found) == 1:
        return None
    return NamedSharding(jax.sharding.Mesh(np.array(found), (AXIS,)), PartitionSpec(AXIS))


def replicated(sharding: NamedSharding) -> NamedSharding:
    """The sharding of what every device holds whole."""
    return NamedSharding(sharding.mesh, PartitionSpec())


def rounded_up(size: int, sharding: Sharding) -> int:
    """The batch size, rounded up to a multiple of the devices."""
    if sharding is None:
        return size
    return -(-size // sharding.mesh.size) * sharding.mesh.size


def count(sharding: Sharding) -> int:
    """How many devices share a batch."""
    return 1 if sharding is None else sharding.mesh.size


def divides(size: int, sharding: Sharding) -> bool:
    """Whether a batch of this size can be divided equally."""
    return sharding is not None and size % sharding.mesh.size == 0


def _put(array: Any, sharding: NamedSharding) -> Array:
    if isinstance(array, jax.Array) and jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        data = _put(jax.random.key_data(array), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(array))
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        return jax.device_put(array, sharding)
    host = np.asarray(array)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def put(batch: Any, sharding: Sharding) -> Array:
    """A batch (B, ...) from the host, divided among the devices; B a multiple of their number."""
    return batch if sharding is None else _put(batch, sharding)


def replicate(tree: PyTree, sharding: Sharding) -> PyTree:
    """The arrays of a pytree, whole on every device; as they are without a sharding."""
    if sharding is None:
        return tree
    return jax.tree.map(lambda array: _put(array, replicated(sharding)), tree)


def fetch(tree: PyTree) -> PyTree:
    """The arrays of a pytree on the host, the same on every process."""

    def whole(array: Any) -> Any:
        if isinstance(array, jax.Array) and not (
            array.is_fully_addressable or array.is_fully_replicated
        ):
            return multihost_utils.process_allgather(array, tiled=True)
        return array

    return jax.device_get(jax.tree.map(whole, tree))


def local(tree: PyTree) -> PyTree:
    """The arrays of a pytree on this process's own default device."""
    return jax.tree.map(lambda array: jnp.asarray(np.asarray(array)), tree)


def usable_cores() -> int:
    """The cores that this process may run on; bound to some, fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_main() -> bool:
    """Whether this process is the one that writes files and prints."""
    return jax.process_index() == 0


def agreed(name: str, read: Callable[[], T]) -> T:
    """What `read` says of files that only the main process writes, the same on every process."""
    if jax.process_count() == 1:
        return read()
    # Nobody reads before all has been written, nor writes before all have read.
    multihost_utils.sync_global_devices(f"before {name}")
    try:
        return read()
    finally:
        multihost_utils.sync_global_devices(f"after {name}")


def any_process(value: bool) -> bool:
    """Whether the value is True on any process."""
    if jax.process_count() == 1:
        return value
    return bool(np.any(multihost_utils.process_allgather(np.array(value))))
