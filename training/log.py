"""The log of a training run: log.csv, TensorBoard if it is installed, Weights & Biases on request."""

import csv
from pathlib import Path
from uuid import uuid4

import numpy as np

WANDB_ID = "wandb_id.txt"  # file with the id by which a resumed run continues at Weights & Biases


class RunLog:
    """Scalars and images of a run by step, in `folder`; a resumed run continues the same log.

    `wandb` turns on Weights & Biases. Raises ValueError when it is not installed.
    """

    def __init__(self, folder: Path, wandb: bool = False):
        self.path = folder / "log.csv"
        self.board = self.wandb = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            print("writing no TensorBoard log: pip install tensorboard")
        else:
            self.board = SummaryWriter(str(folder))
        if wandb:
            try:
                import wandb as weights_and_biases
            except ImportError:
                raise ValueError("--wandb needs the package wandb: pip install wandb") from None
            id_file = folder / WANDB_ID
            if not id_file.exists():
                id_file.write_text(uuid4().hex[:16])
            self.wandb = weights_and_biases.init(
                project="ecg-digitization", name=folder.name, dir=str(folder), resume="allow",
                id=id_file.read_text(),
            )  # fmt: skip

    def scalars(self, step: int, values: dict[str, float]) -> None:
        new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(("step", "name", "value"))
            writer.writerows((step, name, repr(float(value))) for name, value in values.items())
        if self.board:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)
        if self.wandb:
            self.wandb.log(values, step=step)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Log an image (H, W, 3) uint8 RGB."""
        if self.board:
            self.board.add_image(name, image, step, dataformats="HWC")
        if self.wandb:
            from wandb import Image

            self.wandb.log({name: Image(image)}, step=step)

    def close(self, failed: bool = False) -> None:
        if self.board:
            self.board.close()
        if self.wandb:
            self.wandb.finish(exit_code=int(failed))
