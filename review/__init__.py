"""A page that the machine is unsure of, corrected by hand in a browser: `python review.py OUT`.

In reading order: corrections (what a person changed, as a value) · places (px of the image and squares of
the paper) · grid · rows · traces · ink (each applies one kind of correction) · reading (all of them in order,
with the same code as predict.py) · store (the run's folder) · actions (what a browser asks for, as
corrections) · session (open pages and their drafts) · picture (what the browser draws) · app (the web pages).
"""
