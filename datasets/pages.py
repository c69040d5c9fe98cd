"""Synthetic pages drawn on the fly, and the pool from which samples of any pages are taken for training."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from configs.page import IMAGE_TYPES
from synthesis import Capture, synthesize
from synthesis.signals import Record, find_records, is_heldout, read_record, vary

PageSource = Callable[[np.random.Generator], dict]  # a random page, as a stage's samples keep it


class Samples(Protocol):
    """How a stage turns a captured page into training samples."""

    def prepare(self, capture: Capture, record: Record, rng: np.random.Generator) -> dict:
        """What is kept of a page in the pool."""

    def sample(self, page: dict, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """One training sample of a kept page."""


def training_records(folder: Path) -> list[Record]:
    """All records below `folder` that no test ever sees."""
    records = [read_record(path) for path in find_records(folder) if not is_heldout(path.stem)]
    if not records:
        raise ValueError(f"{folder}: no records (*.hea) to train on")
    return records


class SyntheticPages:
    """A source of pages drawn from varied records, of some image types, prepared for one stage."""

    def __init__(self, records: list[Record], samples: Samples, types: tuple[str, ...] = IMAGE_TYPES):
        self.records, self.samples, self.types = records, samples, types

    def __call__(self, rng: np.random.Generator) -> dict:
        record = vary(self.records[rng.integers(len(self.records))], rng)
        capture = synthesize(record, str(rng.choice(self.types)), rng, turn=0)
        return self.samples.prepare(capture, record, rng)


class PagePool(IterableDataset):
    """An endless stream of a stage's samples; each worker holds a pool of pages and renews it.

    `echo` samples are taken from the pool for each new page of the source, so that a page serves several
    times at different moments.
    """

    def __init__(self, source: PageSource, samples: Samples, echo: int, pool: int, seed: int):
        self.source, self.samples = source, samples
        self.echo, self.pool, self.seed = echo, pool, seed

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        worker = get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        pool: list[dict] = []
        while True:
            page = self.source(rng)
            if len(pool) < self.pool:
                pool.append(page)
            else:
                pool[rng.integers(len(pool))] = page
            for _ in range(self.echo):
                sample = self.samples.sample(pool[rng.integers(len(pool))], rng)
                yield tuple(torch.from_numpy(np.ascontiguousarray(part)) for part in sample)
