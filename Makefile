# make demo: digitize the sample pages and print their score. make test: the tests.
# make kaggle-dataset OWNER=you: code and weights as a dataset for notebooks/kaggle_submission.ipynb.
# All make a virtual environment first; PYTHON and VENV choose which interpreter and where.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test lint train kaggle-dataset
demo: $(VENV)/.installed
	$(BIN)/python predict.py samples/train/3443727300 --output outputs/demo
	$(BIN)/python evaluate.py samples

# The tests run in two halves side by side, one core each: the quick ones and the slow ones of whole pages, and all
# other slow ones, which take as long. Coverage is that of the quick ones, as counting takes a tenth of their time.
# A shell's background processes do not hear Ctrl-C. Compiled code is kept, as the tests start dozens of processes
# that would each compile it again.
HALF = OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest
PAGES = tests/test_faults.py tests/test_real_pages.py tests/test_layout_samples.py
test: $(VENV)/.installed-dev
	$(HALF) -m slow $(addprefix --ignore=,$(PAGES)) > .slow-tests.log 2>&1 & slow=$$!; \
	trap "kill $$slow" INT TERM; \
	$(HALF) -m "not slow" --cov --cov-report= --cov-fail-under=0; quick=$$?; \
	$(HALF) -m slow $(PAGES); pages=$$?; \
	wait $$slow; slow=$$?; cat .slow-tests.log; rm .slow-tests.log; [ $$quick$$pages$$slow = 000 ]
	$(BIN)/python -m coverage report --skip-covered --ignore-errors

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

train: $(VENV)/.installed
	$(BIN)/python train.py --stage all --records $(RECORDS)

kaggle-dataset: $(VENV)/.installed
	$(BIN)/python notebooks/pack_dataset.py $(if $(OWNER),--owner $(OWNER))

$(VENV)/.installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@
