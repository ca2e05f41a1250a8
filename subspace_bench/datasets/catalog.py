"""The available datasets and how their files are verified.

To add a dataset in MNIST's format, add an entry to FOLDERS (and SHA256). Another format needs a
module like `embedded.py`, called by `loading.load`.
"""

from __future__ import annotations

from subspace_bench.common.validation import require_choice

FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}  # name → torchvision's folder
EMBEDDED = "mnist-5k"
NAMES = (*FOLDERS, EMBEDDED)
VERIFICATION = {
    "mnist": "verified by SHA-256",
    "fashion-mnist": "checked for shapes",
    EMBEDDED: "as shipped",
}
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
COUNTS = (60_000, 60_000, 10_000, 10_000)  # items of FILES
# SHA-256 of the uncompressed FILES: torchvision has only MD5 sums of the archives.
SHA256 = {
    "mnist": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    )
}


def require_dataset(name: str) -> None:
    """Raises UserError unless `name` is a dataset."""
    require_choice("dataset", [name], NAMES)
