"""Draw the README's pictures from the sample photo: python docs/draw_pictures.py

Writes photo.jpg, overlay.jpg and signals.svg beside this file.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from digitization.digitizer import Digitizer
from digitization.overlay import draw_on_photo, shrink
from prediction.paper import draw_paper
from prediction.templates import environment
from utils.command import run_main
from utils.files import atomic_write
from utils.images import encode_jpeg, read_rgb

HERE = Path(__file__).parent
PHOTO = HERE.parent / "samples" / "train" / "3443727300" / "3443727300-0005.png"
WIDTH, QUALITY = 900, 80
STYLE = (
    ".trace,.start{fill:none;stroke:#111;stroke-width:3.2}.copy{stroke:#8a8f98}.foot{font:26px sans-serif;"
    "text-anchor:end;fill:#555}.lead-name{font:600 34px sans-serif}"
)


def main() -> None:
    image = read_rgb(PHOTO)
    page = Digitizer()(image)
    drawn = draw_on_photo(image, page.rectified, page.trace_result)
    for name, picture in (("photo", image), ("overlay", drawn)):
        with atomic_write(HERE / f"{name}.jpg") as partial:
            partial.write_bytes(encode_jpeg(shrink(picture, WIDTH), QUALITY))
    paper = draw_paper(page.leads, page.fs, gaps=page.gaps, title="twelve leads read from the photo")
    definitions = environment().get_template("definitions.svg").render()
    paper = paper.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    paper = paper.replace(">", f"><style>{STYLE}</style>{definitions}", 1)
    with atomic_write(HERE / "signals.svg") as partial:
        partial.write_text(paper, encoding="utf-8")


if __name__ == "__main__":
    run_main(main)
