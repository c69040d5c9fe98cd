"""Many pages through one digitizer: `Engine(DigitizerOptions()).digitize(pages, outputs)`."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from digitization.digitizer import Digitizer
from digitization.options import DigitizerOptions
from prediction.pages import write_unknown
from prediction.pdf_files import process_file
from prediction.results import FAILED, OutputOptions, Page, PageResult
from utils.command import log, progress
from utils.device import limit_threads
from utils.pool import BATCH_SIZE, Pool
from utils.workers import WorkerDied


class Engine:
    """Loads the networks at once, so that a bad checkpoint or device stops a run before its first page.

    `workers`, `batch_size` and `dask` are those of utils.pool.Pool; `threads` are torch's of a single worker,
    several have one each. Raises CheckpointError, and ValueError for a device that cannot be had.
    """

    def __init__(
        self,
        options: DigitizerOptions,
        workers: int | None = None,
        threads: int | None = None,
        batch_size: int = BATCH_SIZE,
        dask: str | None = None,
    ):
        limit_threads(threads)
        if dask is not None:  # whose workers have working directories of their own
            stage2 = tuple(path.absolute() for path in options.stage2)
            names = ("stage0", "stage1", "landmarks", "close_ups", "stage2_layouts")
            others = {name: getattr(options, name).absolute() for name in names}
            options = replace(options, stage2=stage2, **others)
        self.pool: Pool[Digitizer] = Pool(options, workers, batch_size, dask)
        self.networks = options.name_networks()

    def digitize(self, pages: list[Page], outputs: OutputOptions) -> Iterator[PageResult]:
        """Digitize pages and write what `outputs` names; the results as they are done, their warnings logged.

        A PDF file of several pages may have several. A page whose process dies is a failed one.
        """
        by_name, tasks = {page.name: page for page in pages}, pages
        if self.pool.dask is not None:
            tasks = [replace(page, path=page.path.absolute()) for page in pages]
            outputs = replace(outputs, folder=outputs.folder.absolute())
        results = self.pool.map(partial(process_file, outputs=outputs), tasks)
        for task, done in progress(results, len(pages), "page"):
            page = by_name[task.name]
            if isinstance(done, WorkerDied) and page.kept:
                log.warning(f"warning: {page.path}: {done}; its pages are left as they were")
                done = []
            if isinstance(done, WorkerDied):
                result = PageResult(page, FAILED, [str(done)], ratio=None if page.truth is None else 0.0)
                if outputs.signals:
                    write_unknown(page, outputs, result)
                done = [result]
            for result in done:
                result.page = replace(page, name=result.page.name)
                log_warnings(result)
                yield result


def log_warnings(result: PageResult) -> None:
    """Say what is wrong with a page; of one that is scored, only why it could not be."""
    path = str(result.page.path)
    if result.pdf_pages:
        path += f": page {result.pdf_pages}"
    for note in result.notes:
        log.info(f"{path}: {note}")
    if result.page.truth is None:
        doubtful = "" if result.outcome == FAILED else "doubtful, "
        for warning in result.warnings:
            log.warning(f"warning: {path}: {doubtful}{warning}")
    elif result.ratio is None:
        log.warning(f"warning: not scored: {path}: {'; '.join(result.warnings)}")
