"""Sources of training pages, synthetic ones among them, and the pool from which samples are taken."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from configs.network import NetworkConfig
from configs.page import IMAGE_TYPES
from datasets.layouts import draw_layout
from synthesis import Capture, synthesize
from synthesis.layouts.capture import LayoutCapture
from synthesis.signals import Record, find_records, is_heldout, overlap_rows, read_record, vary
from utils.command import log

MAX_UNREADABLE = 20  # number of unreadable records in a row that stops training
PageSource = Callable[[np.random.Generator], dict]  # returns a random page as Samples.prepare does


class Samples(Protocol):
    """How a stage makes training samples from a captured page."""

    @property
    def config(self) -> NetworkConfig: ...

    def prepare(self, capture: Capture, record: Record, rng: np.random.Generator) -> dict:
        """Prepare a page for the pool."""

    def prepare_layout(self, capture: LayoutCapture, record: Record, rng: np.random.Generator) -> dict:
        """What is kept of a page of any layout; stages 0 and 1 do not learn from such pages."""

    def sample(self, page: dict, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Draw a training sample from a prepared page."""


def readable_records(paths: Iterable[Path]) -> Iterator[Record]:
    """The readable records of the given WFDB headers; the others are logged."""
    for path in paths:
        try:
            yield read_record(path)
        except ValueError as error:
            log.warning(f"left out: {error}")


def training_records(folder: Path) -> list[Path]:
    """The headers of all records below `folder` that are not held out; ValueError when none can be read."""
    records = [path for path in find_records(folder) if not is_heldout(path.stem)]
    if next(readable_records(records), None) is None:
        raise ValueError(f"{folder}: no records (*.hea) to train on that can be read")
    return records


class SyntheticPages:
    """A source of synthetic pages from augmented records, of the given image types, prepared for one stage.

    A record that cannot be read is logged once and replaced by another. Raises ValueError after
    MAX_UNREADABLE such records in a row.
    """

    def __init__(self, records: list[Path], samples: Samples, types: tuple[str, ...] = IMAGE_TYPES):
        self.records, self.samples, self.types = records, samples, types
        self.unreadable: set[Path] = set()

    def read(self, rng: np.random.Generator) -> Record:
        for _ in range(MAX_UNREADABLE):
            path = self.records[rng.integers(len(self.records))]
            if path not in self.unreadable:
                if record := next(readable_records([path]), None):
                    return record
                self.unreadable.add(path)
        raise ValueError(f"{path}: {MAX_UNREADABLE} records in a row cannot be read, this is the last")

    def __call__(self, rng: np.random.Generator) -> dict:
        record = vary(self.read(rng), rng)
        overlap_probability = self.samples.config.overlap_probability
        if overlap_probability and rng.random() < overlap_probability:
            record = overlap_rows(record, rng)
        layout_share = self.samples.config.layout_share
        if layout_share and rng.random() < layout_share:
            page = draw_layout(record, str(rng.choice(self.types)), rng)
            return self.samples.prepare_layout(page, record, rng)
        capture = synthesize(record, str(rng.choice(self.types)), rng, orientation=0)
        return self.samples.prepare(capture, record, rng)


class MixedPages:
    """A source that takes the share `share` (0..1) of its pages from `first` and the others from `second`."""

    def __init__(self, first: PageSource, second: PageSource, share: float):
        self.first, self.second, self.share = first, second, share

    def __call__(self, rng: np.random.Generator) -> dict:
        return (self.first if rng.random() < self.share else self.second)(rng)


class PagePool(IterableDataset):
    """An endless stream of a stage's samples; each worker keeps its last `pool` pages.

    For each new page of the source `samples_per_page` samples are drawn from the pool, so that a page is used
    several times at different moments (data echoing, Choi et al. 2019, arXiv:1907.05550). The random numbers
    of every page and sample depend only on the seed and its position in the stream: after `start` batches of
    `batch_size` samples, the same number of workers resumes as if never interrupted.
    """

    def __init__(
        self,
        source: PageSource,
        samples: Samples,
        samples_per_page: int,
        pool: int,
        batch_size: int,
        seed: tuple[int, ...],
        start: int = 0,
    ):
        self.source, self.samples = source, samples
        self.samples_per_page, self.pool, self.batch_size = samples_per_page, pool, batch_size
        self.seed, self.start = seed, start

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        worker = get_worker_info()
        worker_index, worker_count = (
            ((worker.id + self.start) % worker.num_workers, worker.num_workers) if worker else (0, 1)
        )
        given = len(range(worker_index, self.start, worker_count)) * self.batch_size
        first, skipped = divmod(given, self.samples_per_page)

        def random(kind: int, number: int) -> np.random.Generator:
            return np.random.default_rng([*self.seed, worker_index, kind, number])

        held = range(max(first - self.pool + 1, 0), first)
        pages = deque((self.source(random(0, number)) for number in held), maxlen=self.pool)
        for number in count(first):
            pages.append(self.source(random(0, number)))
            rng = random(1, number)
            for _ in range(self.samples_per_page):
                sample = self.samples.sample(pages[rng.integers(len(pages))], rng)
                if skipped:
                    skipped -= 1
                else:
                    yield tuple(torch.from_numpy(np.ascontiguousarray(part)) for part in sample)
