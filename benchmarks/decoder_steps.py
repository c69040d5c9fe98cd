"""Ablation of the decoder's steps on labelled pages: the score in dB with all steps and without one of them.

    python benchmarks/decoder_steps.py DATA

The table has a row for each variant and a column for each image type, flat types, photos and all pages.
`public` imitates the public solutions: the highest value of each column, refined by a parabola through it and
its neighbours, and resampling by one Fourier transform of the whole row. Completing a trace from other beats
needs the centroid, so the parabola's row is to be compared with `without other beats`.
"""

import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.signal import resample

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.labelled import open_digitizer, page_arguments, selected_pages
from configs.layouts import leads_from_rows
from configs.page import DURATION_S, FLAT_TYPES, RECTIFIED
from configs.stage2 import CROP_TOP, INPUT_HEIGHT, Stage2Config
from digitization.geometry.locate import PageNotFound
from digitization.signal import decode
from digitization.signal.limb_leads import reconcile_limbs
from digitization.signal.row_ends import hidden_ends, hold_nearest, make_uniform
from digitization.signal.tracer import stage2_config
from utils.command import run_main
from utils.device import limit_threads
from utils.images import read_rgb
from utils.kaggle_metric import image_snr, to_db
from utils.rescaling import rescale

INSIDE = decode.signal_columns()


class Maps:
    """One page's log-probabilities (4, H, W) over the signal's columns, and the decoder's steps on them.

    logits: (4, H, W) of stage 2; row_stride: px per bin; length: samples of ten seconds.
    """

    def __init__(
        self, logits: torch.Tensor, row_stride: int, length: int, config: Stage2Config = decode.DEFAULT_CONFIG
    ):
        self.config = config
        self.log_probability = decode.log_probabilities(logits[:, :, INSIDE], config.loss)
        self.starts = decode.lead_starts(INSIDE.start, INSIDE.stop)
        self.row_stride, self.length = row_stride, length

    def path(self, tracked: bool = True, spikes: bool = True) -> np.ndarray:
        if not tracked:
            return self.log_probability.argmax(axis=1)
        path = decode.find_path(self.log_probability, self.starts)
        return decode.follow_spikes(path, self.log_probability) if spikes else path

    def refined(self, path: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The centroids in bins, which of them are no gaps, and their confidence, all (4, W)."""
        bins, mass, variance = decode.refine(self.log_probability, path)
        return (
            bins,
            mass > decode.MAX_CONFIDENCE_GAP,
            decode.rate_columns(bins, mass, variance, self.row_stride, self.config),
        )

    def parabola(self, path: np.ndarray) -> np.ndarray:
        """The vertex (4, W), in bins, of the parabola through the path's bin and its two neighbours."""
        inner = path.clip(1, self.log_probability.shape[1] - 2)
        a, b, c = (
            np.take_along_axis(np.exp(self.log_probability), inner[:, None] + step, axis=1)[:, 0]
            for step in (-1, 0, 1)
        )
        curvature = a - 2 * b + c
        vertex = np.divide(0.5 * (a - c), curvature, out=np.zeros_like(b), where=curvature < -1e-9)
        return inner + vertex.clip(-0.5, 0.5)

    def trace_y(self, bins: np.ndarray) -> np.ndarray:
        return rescale(bins, self.row_stride) + CROP_TOP

    def rows(
        self,
        tracked: bool = True,
        centroid: bool = True,
        bridge: bool = True,
        beats: bool = True,
        spikes: bool = True,
        ends: bool = True,
        limbs: bool = True,
        weighted: bool = True,
        by_time: Callable | None = None,
    ) -> np.ndarray:
        """Rows (4, length) mV by all or some steps; `by_time` replaces the resampling of y to time."""
        path = self.path(tracked, spikes)
        bins, visible, confidence = self.refined(path)
        bins = bins if centroid else self.parabola(path)
        bins = decode.bridge(bins, visible, self.starts) if bridge else bins
        log_probability = self.log_probability
        if ends:
            hidden = hidden_ends(bins, confidence, self.row_stride)
            log_probability, confidence = (
                make_uniform(log_probability, hidden),
                np.where(hidden, 0, confidence),
            )
            bins = hold_nearest(bins, hidden)
        if beats:
            bins, _ = decode.impute_from_beats(
                log_probability, path, bins, confidence, self.starts, self.row_stride, self.config
            )
        y = np.pad(self.trace_y(bins), ((0, 0), (INSIDE.start, 0)), constant_values=np.nan)
        rows = (by_time or decode.rows_from_traces)(y, self.length)
        column_confidence = np.pad(
            confidence if weighted else np.ones_like(confidence), ((0, 0), (INSIDE.start, 0))
        )
        return (
            reconcile_limbs(rows, decode.confidence_at(column_confidence, self.length))[0] if limbs else rows
        )


def millivolts(y: np.ndarray) -> np.ndarray:
    return (np.array(RECTIFIED.zero_lines)[:, None] - y) / RECTIFIED.px_per_mv


def resample_linearly(y: np.ndarray, length: int) -> np.ndarray:
    x = RECTIFIED.signal_start + np.arange(length) * (RECTIFIED.px_per_second * DURATION_S / length)
    columns = np.flatnonzero(np.isfinite(y[0]))
    return np.stack([np.interp(x, columns, row[columns]) for row in millivolts(y)])


def resample_rows_at_once(y: np.ndarray, length: int) -> np.ndarray:
    """Resample each row by one Fourier transform, without padding at lead boundaries and edges."""
    return resample(millivolts(y[:, INSIDE]), length, axis=1)


VARIANTS: dict[str, dict] = {
    "all steps": {},
    "no tracking": {"tracked": False},
    "parabola, without other beats": {"centroid": False, "beats": False},
    "gaps as they are": {"bridge": False},
    "without other beats": {"beats": False},
    "spikes not followed": {"spikes": False},
    "ends as they are": {"ends": False},
    "resampled linearly": {"by_time": resample_linearly},
    "rows resampled at once": {"by_time": resample_rows_at_once},
    "limb leads and II's copies by no confidence": {"weighted": False},
    "limb leads as read": {"limbs": False},
    "public": {
        "tracked": False,
        "centroid": False,
        "beats": False,
        "ends": False,
        "limbs": False,
        "by_time": resample_rows_at_once,
    },
}


def main() -> None:
    args = page_arguments(__doc__).parse_args()
    limit_threads(args.threads)
    digitizer = open_digitizer(args)
    ratios: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in VARIANTS}
    for image in selected_pages(args):
        try:
            rect = digitizer.straightener.straighten(read_rgb(image.path)).rect
        except PageNotFound:
            continue
        net = digitizer.tracer.nets[0]
        logits = digitizer.tracer.maps(net, rect)
        row_stride = INPUT_HEIGHT // logits.shape[1]
        maps = Maps(logits, row_stride, image.truth.shape[1], stage2_config(net))
        for name, options in VARIANTS.items():
            ratio = image_snr(image.truth, leads_from_rows(maps.rows(**options)), image.fs)
            for group in (image.type, "flat" if image.type in FLAT_TYPES else "photo", "all"):
                ratios[name][group].append(ratio)
    table = pd.DataFrame(
        {name: {group: to_db(np.mean(values)) for group, values in of.items()} for name, of in ratios.items()}
    )
    print(table.T.to_string(float_format="{:.2f}".format))


if __name__ == "__main__":
    run_main(main)
