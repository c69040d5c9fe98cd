"""Ablation of stage 2's training: every variant is trained from scratch with the same steps and seed.

    python benchmarks/ablate_stage2.py RECORDS --runs FOLDER

The networks are scored on synthetic pages of held-out records with their true grid. Networks found in --runs
are scored again, not trained. The table has a row for each variant and the columns
  M parameters  number of parameters in millions
  s a page      seconds per page for the network
  GROUP, DECODER  score in dB of all pages, flat types or photos, by this repository's decoder ("all steps")
                or that of the public solutions ("public", see benchmarks/decoder_steps.py)
"""

import argparse
import re
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.decoder_steps import VARIANTS as DECODERS
from benchmarks.decoder_steps import Maps
from configs.compact import config as compact
from configs.efficientnet_lite0 import config as lite0
from configs.layouts import leads_from_rows
from configs.page import FLAT_TYPES
from configs.stage2 import INPUT_HEIGHT
from digitization.signal.tracer import stage2_config
from models.checkpoint import load_network
from models.imagenet import PretrainedUnavailable
from models.tensors import to_tensor
from training.loop import train
from training.options import Options
from training.stages import STAGES, ValidationPage
from utils.command import log, positive_int, run_main
from utils.device import limit_threads
from utils.kaggle_metric import image_snr, to_db

CROP = 320  # columns of a sample, fewer than in the shipped training to allow more steps in the same time
LITE0 = asdict(lite0) | {"crop_columns": CROP, "image_types": compact.image_types}
VARIANTS: dict[str, dict] = {
    "as shipped": {},
    "pixels judged one by one (BCE), a mask of one bin": {"loss": "bce", "target_sigma": 0.3},
    "without the metric's term": {"noise_weight": 0.0},
    "cross-entropy alone": {"noise_weight": 0.0, "argmax_weight": 0.0, "steep_weight": 0.0},
    "features at every 4th column": {"stem_stride": (4, 4)},
    "features at every column": {"stem_stride": (4, 1)},
    "without context blocks": {"context_blocks": ()},
    "drawn pages only (0001)": {"image_types": ("0001",)},
    "flat types only": {"image_types": FLAT_TYPES},
    "no new colours": {"colour_augmentation": False},
    "efficientnet_lite0": LITE0,
    "efficientnet_lite0, ImageNet weights": LITE0 | {"pretrained": True},
}


@torch.inference_mode()
def score(net: torch.nn.Module, pages: list) -> dict[str, float]:
    """The score in dB by both decoders for all pages, flat types and photos."""
    ratios: dict[str, list[float]] = {}
    for page in pages:
        logits = net(to_tensor(page.page["image"]))[0]
        row_stride = INPUT_HEIGHT // logits.shape[1]
        maps = Maps(logits, row_stride, page.leads.shape[1], stage2_config(net))
        kind = "flat" if page.image_type in FLAT_TYPES else "photo"
        for decoder in ("all steps", "public"):
            ratio = image_snr(page.leads, leads_from_rows(maps.rows(**DECODERS[decoder])), page.fs)
            for group in (kind, "all"):
                ratios.setdefault(f"{group}, {decoder}", []).append(ratio)
    return {name: float(to_db(np.mean(values))) for name, values in sorted(ratios.items())}


@torch.inference_mode()
def seconds(net: torch.nn.Module, page: ValidationPage) -> float:
    """Seconds of the network for a page, the least of three runs."""
    image, taken = to_tensor(page.page["image"]), []
    for _ in range(3):
        started = time.perf_counter()
        net(image)
        taken.append(time.perf_counter() - started)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", type=Path, help="folder with WFDB records (*.hea)")
    parser.add_argument(
        "--steps", type=positive_int, default=300, help="training steps (default: %(default)s)"
    )
    parser.add_argument("--pages", type=positive_int, default=18, help="pages scored (default: %(default)s)")
    parser.add_argument(
        "--only", nargs="+", default=[""], help="only variants whose name contains one of these texts"
    )
    parser.add_argument("--runs", type=Path, required=True, help="folder for the trained networks")
    parser.add_argument("--output", type=Path, help="CSV file of the table, written after each variant")
    parser.add_argument("--threads", type=positive_int, help="torch threads on the CPU")
    parser.add_argument("--device", help="device for training (default: CUDA if available, else cpu)")
    args = parser.parse_args()
    limit_threads(args.threads)
    stage, rows, pages = STAGES[2], {}, None
    for name, change in VARIANTS.items():
        if not any(part in name for part in args.only):
            continue
        change = {"crop_columns": CROP} | change
        options = Options(
            records=args.records,
            runs=args.runs,
            device=args.device,
            steps=args.steps,
            max_minutes=6000.0,
            validate_minutes=6000.0,
            validation_pages=1,
            log_every=50,
            resume=True,
            pretrained=change.pop("pretrained", False),
        )
        run_name = re.sub(r"\W+", "_", name)
        best = args.runs / run_name / f"stage{stage.number}.pt"
        if not best.exists():
            try:
                if train(stage, replace(compact, **change), run_name, options) is None:
                    raise KeyboardInterrupt
            except PretrainedUnavailable as error:
                log.warning(f"{name}: left out, {error}")
                continue
        net = load_network(best, 2)
        pages = pages or stage.validation(args.records, args.pages, stage.samples(net))
        parameters = sum(p.numel() for p in net.parameters()) / 1e6
        rows[name] = {"M parameters": parameters, "s a page": seconds(net, pages[0])} | score(net, pages)
        print(name, rows[name], file=sys.stderr, flush=True)
        table = pd.DataFrame(rows).T
        if args.output:
            table.to_csv(args.output)
    if not rows:
        raise ValueError(f"--only {' '.join(args.only)}: no such variant")
    print(table.to_string(float_format="{:.2f}".format))


if __name__ == "__main__":
    run_main(main)
