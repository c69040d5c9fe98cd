"""One photo or scan of a paper ECG to its twelve leads in millivolts.

The modules in the order in which an image passes them (`digitizer` calls them all):

geometry/: from the image to the rectified page
  orientation, projective   the eight orientations; points under a homography
  keypoints                 stage 0: the printed lead labels as keypoints of the image
  locate, search            the page located from these, in an image of any orientation
  frame                     the page under its homography, the input of stage 1
  lattice, surface, grid    stage 1: grid points numbered, smoothed and completed
  line_profiles, slip, find_slip, lines   slips of the scanner and the time axis, from the vertical lines
  calibration               the paper's scale in the image
  rectify, straighten       the image resampled; all of these steps in order
  paper, straight_paper     of a page of any layout: the grid of its paper, and the paper straightened
  row_strips, close_ups     its rows laid out as stage 2 expects them; small pieces of it, looked at closely
layout/: pages of any layout, in the order of their steps
  competition               whether a page is the competition's
  landmarks                 labels, rows, beginnings, pulses on straightened paper
  match, columns            the layout that agrees with them, in its place
  boundaries                where rows begin and leads meet, to a few ms, by close-ups
  printed_scales, scales    speed and gain
  zero_lines                where 0 mV of each row is
  page, finder              the page as it was found; all of these steps
  reading                   the rows read by stage 2
  slant, strips             prints that are not square to their paper; which leads rhythm strips repeat
signal/: from the rectified page to signals
  tracer                    stage 2, by one network or several
  path, decode              from its maps to the y-coordinates of the traces
  row_ends, beats           ink that hides the ends of a row; stretches imputed from other beats
  maxima                    the peaks of a curve
  traces                    y-coordinates to millivolts and back
  limb_leads                Einthoven's and Goldberger's relations
  quality                   confidence, gaps, and which samples are imputed
vector/: pages of PDF files that hold the curves of their leads, read without networks
  curves, grid_lines        traces, calibration pulses and the grid among the lines of a page
  lead_names, print_scales  lead names, speed and gain by the texts; the size of the print
  arrangement, strip_names  rows, columns and strips
  sampling                  the points of a curve to samples
  page, record, document    a page; a record over several pages; a whole file
networks                    their checkpoints loaded
options                     which networks a digitizer or a straightener has, as a value for other processes
overlay                     the grid and the traces drawn over the image
record_files                the leads as CSV and WFDB records
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from digitization.digitizer import Digitized, Digitizer

__all__ = ["Digitized", "Digitizer"]


def __getattr__(name: str) -> Any:
    """Import Digitizer and Digitized on first access, as they need torch, which takes seconds to load."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from digitization import digitizer

    return getattr(digitizer, name)
