"""What a number depends on beside the code: versions and the machine."""

import platform
from importlib import metadata

import jax

from advknow.passes.devices import usable_cores
from advknow.version import __version__

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "orbax-checkpoint")


def versions() -> dict[str, str]:
    """Versions of advknow, Python and the packages; the devices, the cores this process may use."""
    device = jax.devices()[0]
    return {
        "advknow": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
        "device": f"{jax.device_count()} x {device.device_kind}",
        "cores": str(usable_cores()),
        "platform": platform.platform(),
    }
