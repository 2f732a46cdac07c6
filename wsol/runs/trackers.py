"""What a run logs beside its own files: figures and example maps, to TensorBoard, Weights & Biases or Trackio.

In: the figures of metrics.jsonl, learning rates, score maps of val. Out: what each package writes. The packages are extras:
they are imported when a run logs to them, and nothing that they do changes the run's results.
"""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from wsol.core.errors import OptionError
from wsol.core.files import read_text, write_text
from wsol.core.launch import launched
from wsol.data.images import load_image
from wsol.maps.overlay import overlay

NONE = "none"
PROJECT = "wsol-granularity"  # under which the packages list the runs
WANDB_ID = "wandb_id.txt"
EXAMPLES = 4  # val's images whose maps are logged, spread evenly over its list
INSTALL = "pip install -e '.[{}]' in the checkout, or pip install 'wsol-granularity[{}]'"


class Tracker(Protocol):
    """One place to log to."""

    def figures(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Log figures by name, such as val/MaxBoxAccV2."""

    def pictures(self, epoch: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Log pictures by name, uint8 (H, W, 3)."""

    def close(self, failed: bool) -> None:
        """Write what is left, and end all threads and processes."""


class TensorBoard:
    """Event files in the run's folder, tensorboard/."""

    def __init__(self, folder: Path, config: Mapping[str, Any], epoch: int):
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=epoch + 1 if epoch else None)

    def figures(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Log figures by name."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, epoch)

    def pictures(self, epoch: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Log pictures by name, uint8 (H, W, 3)."""
        for name, picture in pictures.items():
            self._writer.add_image(name, picture, epoch, dataformats="HWC")
        self._writer.flush()

    def close(self, failed: bool) -> None:
        """Write what is left."""
        self._writer.close()


class WandB:
    """A run of Weights & Biases; its files are in the run's folder, wandb/. WANDB_MODE=offline needs no account."""

    def __init__(self, folder: Path, config: Mapping[str, Any], epoch: int):
        import wandb

        self._module = wandb
        # Nothing but what is logged: no console, no code, no measurements of the machine.
        settings = wandb.Settings(console="off", silent=True, disable_code=True, x_disable_stats=True)
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=config["experiment_name"],
                id=self._id(folder),
                resume="allow",
                dir=str(folder),
                config=dict(config),
                settings=settings,
            )
        except wandb.errors.Error as error:
            raise OptionError("logger", "wandb", f"{error}; expected a login, or WANDB_MODE=offline") from None
        self._run.define_metric("*", step_metric="epoch")

    def _id(self, folder: Path) -> str:
        """Return the run's id, the same when it is continued."""
        path = folder / WANDB_ID
        if not path.is_file():
            write_text(path, uuid.uuid4().hex[:8])
        return read_text(path).strip()

    def figures(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Log figures by name."""
        self._run.log({"epoch": epoch, **figures})

    def pictures(self, epoch: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Log pictures by name, uint8 (H, W, 3)."""
        self._run.log({"epoch": epoch} | {name: self._module.Image(picture) for name, picture in pictures.items()})

    def close(self, failed: bool) -> None:
        """Write what is left, and end the process that writes."""
        self._run.finish(exit_code=int(failed))
        self._module.teardown(exit_code=int(failed))


class Trackio:
    """A run in Trackio's local database, which TRACKIO_DIR places."""

    def __init__(self, folder: Path, config: Mapping[str, Any], epoch: int):
        import trackio

        self._module = trackio
        settings = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False, "resume": "allow" if epoch else "never"}
        self._run = trackio.init(project=PROJECT, name=config["experiment_name"], config=dict(config), **settings)

    def figures(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Log figures by name."""
        self._run.log({"epoch": epoch, **figures})

    def pictures(self, epoch: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Log pictures by name, uint8 (H, W, 3)."""
        self._run.log({"epoch": epoch} | {name: self._module.Image(picture) for name, picture in pictures.items()})

    def close(self, failed: bool) -> None:
        """Write what is left."""
        self._module.finish()


TRACKERS: dict[str, Callable[[Path, Mapping[str, Any], int], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "trackio": Trackio,
}  # each by the name of its package, which is also that of its extra


def check_trackers(names: Sequence[str]) -> None:
    """Check the option `logger`.

    Raises:
        OptionError: a name is given twice, `none` with others, or a package is not installed; the message says how to.
    """
    given = " ".join(names)
    if len(set(names)) < len(names) or (NONE in names and len(names) > 1):
        raise OptionError("logger", given, f"expected {NONE} alone, or different ones of {', '.join(TRACKERS)}")
    for name in TRACKERS:
        try:
            if name in names:
                version(name)
        except PackageNotFoundError:
            expected = f"{name} is not installed; expected {INSTALL.format(name, name)}"
            raise OptionError("logger", given, expected) from None


def check_logins(names: Sequence[str]) -> None:
    """Raise OptionError if Weights & Biases would ask for an account, and there is nobody to answer."""
    if "wandb" not in names:
        return
    import wandb

    if wandb.setup().settings.mode in ("online", "shared"):
        try:
            wandb.login()
        except wandb.errors.Error as error:
            raise OptionError("logger", "wandb", f"{error}; expected a login, or WANDB_MODE=offline") from None


class Trackers:
    """All places that a run logs to; with none, every call returns at once.

    `image_ids`: the images of val; the example maps are those of a few of them, read again from `image_root`.
    """

    def __init__(self, opened: Sequence[Tracker] = (), image_root: Path = Path(), image_ids: Sequence[str] = ()):
        self._opened = opened
        self._image_root = image_root
        self.example_ids = list(image_ids[:: max(1, len(image_ids) // EXAMPLES)][:EXAMPLES])
        self._maps: dict[str, np.ndarray] = {}

    def figures(self, epoch: int, split: str, figures: Mapping[str, float]) -> None:
        """Log figures of a split by name; percent, apart from losses and learning rates."""
        for tracker in self._opened:
            tracker.figures(epoch, {f"{split}/{name}": value for name, value in figures.items()})

    def keeping_examples(self, save: Callable[[str, np.ndarray], object] | None) -> Callable | None:
        """Return a function of an image's id and its score map that keeps the examples' maps, then calls `save`."""
        if not self.example_ids:
            return save

        def keep(image_id: str, score_map: np.ndarray) -> None:
            if image_id in self.example_ids:
                self._maps[image_id] = score_map
            if save:
                save(image_id, score_map)

        return keep

    def examples(self, epoch: int, split: str) -> None:
        """Log the maps that were kept, of several ranks by all of them, each over its photo, and forget them."""
        if not self.example_ids:
            return
        from wsol.networks import ranks  # imports torch, which the table of options should not

        maps = {name: kept for part in ranks.gather_first(self._maps) for name, kept in part.items()}
        self._maps = {}
        pictures = {
            f"{split}/{image_id}": overlay(load_image(self._image_root / image_id), maps[image_id])
            for image_id in self.example_ids
            if image_id in maps
        }
        for tracker in self._opened:
            tracker.pictures(epoch, pictures)


@contextmanager
def tracking(config: Mapping[str, Any], folder: Path, image_ids: Sequence[str], epoch: int = 0) -> Iterator[Trackers]:
    """Give the trackers of the option `logger`, and close them at the end, also of a run that fails.

    `folder`: the run's. `image_ids`: the images of val. `epoch`: the last one of a run that is continued, which goes on in
    the same place; what it logged after that is logged again.
    """
    opened: list[Tracker] = []
    failed = True
    try:
        for name in config["logger"]:
            if name != NONE and launched().rank == 0:
                opened.append(TRACKERS[name](folder, config, epoch))
        shown = image_ids if list(config["logger"]) != [NONE] else ()
        yield Trackers(opened, Path(config["data_root"]) / config["dataset_name"], shown)
        failed = False
    finally:
        for tracker in opened:
            tracker.close(failed)
