"""`Subspace` in a LightningModule: `pip install lightning` and run it."""

import tempfile

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from subspace_bench import Subspace


class Classifier(lightning.LightningModule):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.save_hyperparameters()  # so that `load_from_checkpoint` knows dim
        torch.manual_seed(0)
        layers = nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2)
        self.net = Subspace(nn.Sequential(*layers), dim, "hashed")

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: list[torch.Tensor]) -> None:
        self.log("loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.05)


def batches() -> DataLoader:
    x = torch.randn(256, 6, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), batch_size=32)


def fit(folder: str, epochs: int = 4, resume: str | None = None) -> tuple[Classifier, float]:
    """The trained module and its last validation loss; saves a checkpoint per epoch."""
    model = Classifier(dim=30)
    saving = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
    options = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = lightning.Trainer(max_epochs=epochs, callbacks=[saving], **options)
    trainer.fit(model, batches(), batches(), ckpt_path=resume)
    return model, trainer.callback_metrics["loss"].item()


if __name__ == "__main__":
    whole, _ = fit(folder := tempfile.mkdtemp())
    resumed, _ = fit(folder, resume=f"{folder}/epoch=1.ckpt")
    print(torch.equal(whole.net.omega, resumed.net.omega))
