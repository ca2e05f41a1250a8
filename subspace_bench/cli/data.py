"""`subspace-bench data`: locates, verifies and downloads a dataset."""

from __future__ import annotations

from subspace_bench.cli.options import Data, Dataset


def data(data: Data = None, dataset: Dataset = "mnist") -> int:
    """Locate and verify the dataset; download it if missing."""
    from subspace_bench.datasets import catalog, download, loading, locate

    catalog.require_dataset(dataset)
    folder = data or locate.variable_folder()
    # Other commands only read the user's folder; this one also downloads to it.
    downloadable = folder is not None and dataset in catalog.IDX_DATASETS
    if folder and downloadable and locate.missing_files(locate.raw_folder(dataset, folder)):
        download.download(dataset, folder)
    loaded = loading.load(dataset, data)
    print(f"{dataset}: {loaded.source}, {catalog.verification(dataset)}")
    print(f"{len(loaded.train_labels):,} training and {len(loaded.test_labels):,} test images")
    print(f"SHA-256 of all: {loaded.digest}")
    return 0
