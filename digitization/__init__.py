"""One photo or scan of a paper ECG to its twelve leads in millivolts.

The modules in the order in which an image passes them (`digitizer` calls them all):

geometry/, the image straightened:
  orientation, projective   the eight orientations, and points through projective maps
  keypoints                 stage 0 decoded: the printed lead labels as keypoints of the image
  locate, search            where the page lies by these, in an image of any orientation
  frame                     the page roughly straightened, as stage 1 sees it
  lattice, surface, grid    stage 1 decoded: grid points numbered, smoothed and completed
  line_profiles, slip, find_slip, lines   the vertical lines measured: slips of the scanner, the time axis
  calibration               the paper's scale in the image
  rectify, straighten       the image resampled, and all of this in order
signal/, the straightened page read:
  tracer                    stage 2 applied, by one network or several
  path, decode              its maps to the y-coordinates of the traces
  row_ends, beats           what hides the ends of a row; stretches imputed from other beats
  traces                    y-coordinates to millivolts and back
  limb_leads                Einthoven's and Goldberger's relations
  quality                   confidence, gaps, and which samples are imputed
options                     which networks a digitizer or a straightener has, as a value for other processes
overlay                     what was read, drawn over the image
record_files                the leads as CSV and WFDB records
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from digitization.digitizer import Digitized, Digitizer

__all__ = ["Digitized", "Digitizer"]


def __getattr__(name: str) -> Any:
    """Digitizer and Digitized, imported once they are asked for: they need torch, which loads for seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from digitization import digitizer

    return getattr(digitizer, name)
