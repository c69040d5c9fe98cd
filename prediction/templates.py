"""The templates of the HTML report and of the ECG paper in it."""

from functools import cache
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from utils.kaggle_metric import to_db

FOLDER = Path(__file__).parent / "templates"


def number(value: float | None) -> str:
    """A number in 0..1 with two decimal places, blank for None."""
    return "" if value is None else f"{value:.2f}"


@cache
def environment() -> Environment:
    """The templates of FOLDER. What is put into them is escaped, but for markup that they made themselves."""
    templates = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals |= {"number": number, "decibels": to_db, "mean": np.nanmean, "least": np.nanmin}
    return templates
