# Everything runs through .venv, which is made from requirements.lock when needed. `python -m` instead of scripts, because
# scripts carry the environment's path in their first line and that breaks in folders with spaces.
export TF_CPP_MIN_LOG_LEVEL ?= 3
export PYTHONUTF8 ?= 1
# For the processes side by side: more threads of NumPy than cores wait for each other.
export OMP_NUM_THREADS ?= 1
# For glibc: memory that a training step gives back is kept for the next one. Handing it to the system and asking for it
# again costs up to a thousand page faults a step.
export MALLOC_MMAP_THRESHOLD_ ?= 33554432
export MALLOC_TOP_PAD_ ?= 67108864
# Each thread would keep such memory of its own: 100 MiB of a worker after its third run.
export MALLOC_ARENA_MAX ?= 2
# The caller's PYTHONPATH, Keras backend and pip settings are for other projects. A pip that installs for the user fails
# in a virtual environment.
export PYTHONPATH := $(CURDIR)/src
export KERAS_BACKEND := tensorflow
export PIP_USER := 0
ifeq ($(OS),Windows_NT)
  PY := .venv/Scripts/python.exe
else
  PY := .venv/bin/python
endif
SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
# Programs that make does not start, such as an editor's kernel, find src/ through this file. Its path is relative, so a
# renamed or copied checkout finds its own source. It is ASCII, because Python 3.11 and 3.12 read this file in the
# locale's encoding and end at a Polish letter where LC_ALL=C.
FIND_SOURCE := import os, sysconfig; site = sysconfig.get_path('purelib'); \
  print(os.path.relpath('src', site), file=open(os.path.join(site, 'genmodels.pth'), 'w'))
# $(call INSTALL,python,environment): pip's warnings, one a package with some mirrors, are shown only if it fails.
INSTALL = $(1) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement $< \
  2> $(2)/pip.log || { cat $(2)/pip.log >&2; exit 1; }
SMOKE := GENMODELS_BUDGET=smoke
# make report JOBS=8: tasks at once; without it, as cores and memory allow.
MANY = $(if $(JOBS),--jobs $(JOBS))

.DEFAULT_GOAL := help
.PHONY: help report explorer test lab site strip notebooks nbval figures study bench release-check crash-test lint clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

report: .venv/installed ## train, run the notebooks, write report/generative_models.pdf and .html; only what is out of date
	@$(PY) -m genmodels report $(MANY)

test: .venv/installed ## the tests, and our four notebooks through nbval in the quick mode
	@$(SMOKE) $(PY) -m genmodels train $(MANY)
	$(SMOKE) $(PY) -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder \
	  --nbval-lax --nbval-current-env --nbval-cell-timeout=300 notebooks/zadanie_[1-4]_*.ipynb tests

# The checkout is the root, so that notebooks show ../data/report/.
lab: .venv/installed ## open JupyterLab in notebooks/, with this environment's kernel
	@$(PY) -m jupyterlab --ServerApp.kernel_spec_manager_class=genmodels.pipeline.kernel.OwnKernel \
	  --ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/notebooks \
	  --LabApp.extension_manager=readonly $(ARGS)

# Sphinx lives in an environment of its own: no student needs it, and another lock does not touch the versions behind results.
SITE_PY := build/site-env$(PY:.venv%=%)
site: .venv/installed build/site-env/installed explorer ## build the site in build/site/ from the report, the executed notebooks and docs/
	@$(PY) docs/gather.py
	@rm -rf build/site  # or pages that are gone would stay
	@$(SITE_PY) -m sphinx -q -W --keep-going -E -c docs -d build/site-doctrees build/site-source build/site
	@echo "build/site/index.html"

build/site-env/installed: requirements-site.lock | .venv/installed
	@$(PY) -m venv --clear build/site-env
	@$(call INSTALL,$(SITE_PY),build/site-env)
	@touch $@

strip: .venv/installed ## bring notebooks back to their stored form; runs nothing
	@$(PY) -m genmodels strip

notebooks: .venv/installed ## run all notebooks and store the outputs that nbval compares
	@$(PY) -m genmodels notebooks $(MANY)

# nbval has a time limit for a cell; this one is eleven days.
nbval: .venv/installed ## every notebook, your own included, through nbval; no time limit of ours
	$(PY) -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=1000000 notebooks

figures: .venv/installed ## bring data/report/ up to date, without the documents
	@$(PY) -m genmodels figures $(MANY)

explorer: .venv/installed ## write the latent explorer, report/explorer.html: one page in which the models draw
	@$(PY) -m genmodels explore $(MANY)

study: .venv/installed ## train everything with several seeds, score it, write data/report/study.json; long, resumable
	@$(PY) -m genmodels study $(MANY)

bench: .venv/installed ## time to quality against published recipes (half an hour), share of the machine's peak, how cost grows
	$(PY) -m benchmarks.time_to_quality
	$(PY) -m benchmarks.roofline
	$(PY) -m benchmarks.scaling

release-check: .venv/installed ## fail unless everything is fresh: runs, notebooks, study, benchmark, documents
	@$(PY) -m genmodels release-check

crash-test: .venv/installed ## 120 kills at random moments in a copy of the checkout; about an hour
	@$(PY) -m benchmarks.crash_test 120

# Without caches: ruff's does not notice that a file has moved, and says of other files what a clean checkout would not.
lint: .venv/installed ## ruff, and the directions of imports
	$(PY) -m ruff check --no-cache .
	$(PY) -m ruff format --no-cache --check .
	$(PY) -c "from importlinter.cli import lint_imports_command as main; main(['--no-cache'])"

clean: ## remove the environments, trained models, the site, drafts and documents; figures and numbers stay
	rm -rf .venv .cache draft build/site* report/build report/*.pdf report/generative_models.html report/explorer.html

.venv/installed: requirements.lock
	@for python in "$(PYTHON)" python3 python3.13 python3.12 python3.11 python3.10 python; do \
	  [ -n "$$python" ] && "$$python" -c "$(SUPPORTED)" 2>/dev/null && found="$$python" && break; \
	done; \
	[ -n "$$found" ] || { echo "make: expected Python 3.10 to 3.13 (say which: make PYTHON=/path/to/python), found none" >&2; exit 1; }; \
	echo "Setting up .venv with $$("$$found" --version); 3 GB, a few minutes"; \
	"$$found" -m venv --clear .venv
	@# --no-deps: the lock has them all but rfc3987-syntax and its lark, with which jsonschema would check addresses that
	@# no notebook has, and which make every process that reads a notebook wait for seconds.
	@$(call INSTALL,$(PY),.venv)
	@$(PY) -c "$(FIND_SOURCE)"
	@# JupyterLab would look for news and newer versions, and ask about it.
	@$(PY) -m jupyterlab.labextensions disable "@jupyterlab/apputils-extension:announcements" 2> $(@D)/lab.log
	@touch $@
	@echo ".venv is ready"
