"""The available datasets and how their files are verified.

To add a dataset in MNIST's format, add an entry to IDX_DATASETS. Another format needs a module like
`embedded.py`, called by `loading.load`.
"""

from __future__ import annotations

from dataclasses import dataclass

from subspace_bench.common.validation import require_choice

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class IdxDataset:
    """A dataset in MNIST's format.

    Attributes:
        folder: torchvision's class that downloads it, and the name of its folder.
        mirrors: folders of the archives; torchvision's own include some without https.
        sha256: of the uncompressed FILES, in order; torchvision has only MD5 sums of the archives.
    """

    folder: str
    mirrors: tuple[str, ...]
    sha256: tuple[str, str, str, str]


IDX_DATASETS = {
    "mnist": IdxDataset(
        "MNIST",
        ("https://ossci-datasets.s3.amazonaws.com/mnist/",),
        (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    # Of archives with the MD5 sums that Zalando publishes and torchvision checks.
    "fashion-mnist": IdxDataset(
        "FashionMNIST",
        ("https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",),
        (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
}
EMBEDDED = "mnist-5k"
NAMES = (*IDX_DATASETS, EMBEDDED)


def require_dataset(name: str) -> None:
    """Raises UserError unless `name` is a dataset."""
    require_choice("dataset", [name], NAMES)


def verification(name: str) -> str:
    """How the files of a dataset are verified, as commands print it."""
    return "verified by SHA-256" if name in IDX_DATASETS else "as shipped"
