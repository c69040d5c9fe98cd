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

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered

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
