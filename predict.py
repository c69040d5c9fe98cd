"""Digitize ECG pages: python predict.py INPUT [INPUT ...] --output OUT.

INPUT is an image, a PDF file, a folder, a quoted pattern ('scans/**/*.jpg'), or a competition's test.csv.
For images the folder OUT gets a <name>.csv in mV for each page and pages.csv, which has a row for each.
Pages of a PDF from the second on are called <name>-p2 and so on; pages that carry on with further leads are
one record. A PDF that holds the curves themselves is read by them, others by the networks. For test.csv OUT
is a folder that gets submission.csv, with exactly the rows that test.csv asks for, and pages.csv; or it is
the submission itself, any name that ends in .csv, with the table of pages beside it (submission.pages.csv
for submission.csv). With --dask the workers of a running Dask cluster digitize; they see the same files
under the same paths, this folder's code among them.

Exit code: 0 all pages read; 1 some failed, their signals are zeros (with --strict also: some are doubtful),
or nothing could be done; 2 the command was not understood.
"""

import argparse
import time
from contextlib import ExitStack
from pathlib import Path

from datasets.competition import read_test_table
from digitization.digitizer import MAX_FS
from models.checkpoint import add_stage_arguments, checkpoint_path
from prediction.arguments import add_digitizer_arguments, digitizer_options
from prediction.engine import Engine
from prediction.inputs import find_inputs, name_outputs
from prediction.report import Report
from prediction.results import DOUBTFUL, FAILED, OutputOptions, Page
from prediction.runs import SubmissionPaths, predict_images, predict_test
from utils.command import positive_int, run_main
from utils.files import folder_lock
from utils.pool import BATCH_SIZE

REPORT_PAGES = 200  # shown in full


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("input", nargs="+", help="image, PDF, folder, quoted pattern, or test.csv")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder to write to; with test.csv it may also be the submission, a name that ends in .csv",
    )
    parser.add_argument(
        "--fs",
        type=int,
        default=500,
        help="sampling rate of the signals read from images, Hz (default: %(default)s)",
    )
    parser.add_argument("--wfdb", action="store_true", help="WFDB records too, in OUT/wfdb")
    parser.add_argument(
        "--overlay", action="store_true", help="<name>.overlay.jpg too: the traces on the photo"
    )
    parser.add_argument("--report", action="store_true", help="report.html too, the whole run in one file")
    parser.add_argument(
        "--report-pages",
        type=positive_int,
        default=REPORT_PAGES,
        help="number of pages that the report shows in full, the worst first (default: %(default)s)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="skip images that are digitized already; they are not in the report either",
    )
    parser.add_argument("--strict", action="store_true", help="exit code 1 for doubtful pages too")
    parser.add_argument(
        "--images", type=Path, help="folder with the images of test.csv (default: test/ beside it)"
    )
    add_stage_arguments(parser, (0, 1))
    add_digitizer_arguments(parser)
    parser.add_argument(
        "--batch-size",
        type=positive_int,
        default=BATCH_SIZE,
        help="number of pages that a network sees at once on CUDA (default: %(default)s)",
    )
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="use the workers of a running Dask cluster; ADDRESS is its scheduler's, tcp://HOST:8786",
    )
    return parser.parse_args()


def check_replaceable(submission: Path) -> None:
    """Raise ValueError when a file that is there already is no submission."""
    with submission.open(errors="replace") as file:
        if file.readline().strip() not in ("", "id,value"):
            raise ValueError(f"{submission}: holds something else than a submission; choose another --output")


def check_arguments(args: argparse.Namespace) -> bool:
    """Whether the input is a test.csv; ValueError for what does not go together."""
    tables = [item for item in args.input if item.lower().endswith(".csv")]
    if tables and len(args.input) > 1:
        raise ValueError(f"{tables[0]}: a test.csv comes alone")
    if not 1 <= args.fs <= MAX_FS:
        raise ValueError(f"--fs {args.fs}: must be above 0 and at most {MAX_FS}")
    names_file = args.output.suffix.lower() == ".csv"
    if names_file and not tables and not args.output.is_dir():
        raise ValueError(f"{args.output}: --output is a folder, of one file only with test.csv")
    if names_file and tables and args.output.is_dir():
        raise ValueError(f"{args.output}: is a folder, and not a file to write the submission to")
    if names_file and tables and args.output.exists():
        check_replaceable(args.output)
    if args.output.exists() and not args.output.is_dir() and not names_file:
        raise ValueError(f"{args.output}: not a folder")
    if tables and (args.wfdb or args.overlay or args.resume):
        raise ValueError(f"{tables[0]}: --wfdb, --overlay and --resume are for images")
    return bool(tables)


def main() -> int:
    """Returns the exit code; raises ValueError or OSError when nothing can be done."""
    args = parse_arguments()
    pages: list[Page] = []
    if is_table := check_arguments(args):
        table = Path(args.input[0])
        images = args.images or table.parent / "test"
        read_test_table(table)
        if not images.is_dir():
            raise ValueError(f"{images}: no such folder of images")
    else:
        named = name_outputs(find_inputs(args.input, args.output))
        pages = [Page(name, path, args.fs) for name, path in named.items()]
    options = digitizer_options(args, args.stage0, args.stage1, args.stage2 or [checkpoint_path(2)], is_table)
    engine = Engine(options, args.workers, args.threads, args.batch_size, args.dask)
    paths = SubmissionPaths.of(args.output) if is_table else None
    folder = paths.folder if paths else args.output
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if paths:
            stack.enter_context(folder_lock(paths.submission))
        if not paths or folder == args.output:
            stack.enter_context(folder_lock(folder))
        report = None
        if args.report:
            facts = (
                f"predict.py {' '.join(args.input)} – {time.strftime('%Y-%m-%d %H:%M')}; not for clinical use"
            )
            report_path = paths.report if paths else folder / "report.html"
            report = stack.enter_context(Report(report_path, "ECG digitization", facts, args.report_pages))
        if paths:
            outcomes = predict_test(engine, table, images, paths, report)
        else:
            outputs = OutputOptions(args.output, True, args.wfdb, args.overlay, args.report)
            outcomes = predict_images(engine, pages, outputs, args.resume, report)
    return int(outcomes[FAILED] > 0 or (args.strict and outcomes[DOUBTFUL] > 0))


if __name__ == "__main__":
    run_main(main, interrupted="interrupted; what is written is whole")
