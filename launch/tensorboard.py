"""--tensorboard: the events of metrics.jsonl as TensorBoard's files too."""

from collections.abc import Callable
from typing import Any

from absl import flags

from launch import app

TENSORBOARD = flags.DEFINE_bool(
    "tensorboard",
    False,
    "Also write TensorBoard event files into WORKDIR/tensorboard; pip install "
    "'advknow[tensorboard]'.",
)


def writer(workdir: str) -> Callable[[dict[str, Any]], None] | None:
    """The `on_event` that writes them, or None without the flag.

    Raises:
      ImportError: tensorboardX is not installed.
    """
    if not TENSORBOARD.value or not app.is_main():
        return None
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "--tensorboard needs tensorboardX: pip install 'advknow[tensorboard]'."
        ) from error
    files = SummaryWriter(f"{workdir}/tensorboard")

    def write(event: dict[str, Any]) -> None:
        group = event.get("stage") or event.get("source")
        if event["kind"] not in ("epoch", "row"):
            return
        for name, value in event.items():
            if name not in ("time", "epoch", "epochs") and isinstance(value, (int, float)):
                files.add_scalar(
                    f"{group}/{name}", value, event.get("epoch", 0), walltime=event["time"]
                )
        files.flush()

    return write
