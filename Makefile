# Fromagerie's verbs. `make help` lists them; `make ci` is exactly what CI does.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CACHE := $(CURDIR)/.cache
VENV := $(CACHE)/venv/bin/python
TRAIN := $(CACHE)/venv-train/bin/python
BUNDLE := $(CACHE)/demo-bundle
BIN := target/release/fromagerie
export PYTHONPATH := $(CURDIR)/python
export ORT_DYLIB_PATH ?= $(CACHE)/onnxruntime/libonnxruntime.so

## help: list the verbs
.PHONY: help
help:
	@sed -n 's/^## \([a-z-]*\): \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

## demo: set up, index real pictures, hold a conversation over gRPC, write a page that shows it
.PHONY: demo
demo: setup $(BIN)
	$(VENV) -m fromagerie.demo --binary $(BIN) --bundle $(BUNDLE) --images $(CACHE)/demo-images --out .demo

## test: set up and run all the tests
.PHONY: test
test: test-rust test-python

.PHONY: test-rust
test-rust: setup debug
	FROMAGERIE_TEST_BUNDLE=$(BUNDLE) FROMAGERIE_FUZZ_SECONDS=30 cargo test --workspace --exclude fromagerie-bench

.PHONY: test-python
test-python: setup debug
	$(VENV) -m pytest python/tests

# All that is built without optimisation is built at once: one package alone has other features, and its dependencies would be
# compiled again.
.PHONY: debug
debug:
	cargo build --workspace --bins --tests

## fuzz: every decoder of bytes from a disk or a stranger under libFuzzer, FUZZ_SECONDS each (nightly and cargo-fuzz needed)
FUZZ_SECONDS ?= 600
FUZZ_STORED := aliases catalog_value database_file document footer graph hints journal manifest payload_list readable segment \
	session snapshot_list snapshot_records
FUZZ_FOREIGN := arrow bundle csv jsonl npy parquet pickle picture tar tokenizer tsv
.PHONY: fuzz
fuzz:
	for target in $(FUZZ_STORED) $(FUZZ_FOREIGN); do \
		case " $(FUZZ_STORED) " in *" $$target "*) limit=256;; *) limit=1100;; esac; \
		cargo +nightly fuzz run --fuzz-dir fuzz $$target -- -max_total_time=$(FUZZ_SECONDS) -malloc_limit_mb=$$limit; \
	done

## sanitize: the rooms that hold `unsafe`, and the index between them, under AddressSanitizer (nightly needed)
.PHONY: sanitize
sanitize:
	RUSTFLAGS=-Zsanitizer=address cargo +nightly test --target "$$(rustc -vV | sed -n 's/host: //p')" --target-dir target/sanitize \
		-p fromagerie-kernels -p fromagerie-index -p fromagerie-storage --lib --test floats --test integers --test edges --test damage --test recall --test model --test halves

## torture: the long attacks on storage: ten times and more what `make test` does (an hour and more)
.PHONY: torture
torture: setup debug
	FROMAGERIE_TORTURE=1 FROMAGERIE_FUZZ_SECONDS=300 cargo test -p fromagerie-storage -- --nocapture
	FROMAGERIE_TORTURE=1 cargo test -p fromagerie --test model -- --nocapture
	FROMAGERIE_TORTURE=1 cargo test -p fromagerie-tests --test kill_server -- --nocapture
	cargo build --release -p fromagerie-bench --bin storage_cost
	python3 bench/storage_cost/memory.py --binary target/release/storage_cost --out bench/results/storage_memory.json

## bench-storage: what storage costs beside other embedded engines (PyPI and strace needed)
.PHONY: bench-storage
bench-storage: $(CACHE)/venv-storage/.stamp
	cargo build --release -p fromagerie-bench --bin storage_cost
	$(CACHE)/venv-storage/bin/python bench/storage_cost/run.py --binary target/release/storage_cost --out bench/results/storage_cost.json

$(CACHE)/venv-storage/.stamp: bench/storage_cost/requirements.txt
	python3 -m venv $(CACHE)/venv-storage
	$(CACHE)/venv-storage/bin/pip install --quiet -r $<
	touch $@

## bench-ingest: decoding, the whole job, loads and re-indexes beside Pillow, PyTorch, clip-retrieval, LanceDB and qdrant-edge
.PHONY: bench-ingest
bench-ingest: setup $(CACHE)/venv-ingest/.stamp
	cargo build --release -p fromagerie-bench --bin ingest_cost
	$(CACHE)/venv-ingest/bin/python bench/ingest/run.py --binary target/release/ingest_cost --bundle $(BUNDLE) \
		--pictures $(CACHE)/bench-photos --out bench/results/ingest.json
	$(CACHE)/venv-ingest/bin/python bench/ingest/table.py bench/results/ingest.json

# clip-retrieval asks for CLIP, a web server and more, none of which its runner, reader and writer need.
$(CACHE)/venv-ingest/.stamp: bench/ingest/requirements.txt
	python3 -m venv $(CACHE)/venv-ingest
	$(CACHE)/venv-ingest/bin/pip install --quiet -r $<
	$(CACHE)/venv-ingest/bin/pip install --quiet --no-deps clip-retrieval==2.45.0
	touch $@

## ci: format, clippy, deny, docs, tests, each bench once
.PHONY: ci
ci: lint deny doc test bench-once

## lint: format and clippy
.PHONY: lint
lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

## deny: licences, bans, sources and advisories of the dependencies
.PHONY: deny
deny:
	@tests/deny.sh

## doc: the documentation, without a warning
.PHONY: doc
doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

## bench: every bench, measured
.PHONY: bench
bench: setup
	cargo bench -p fromagerie-kernels
	FROMAGERIE_BUNDLE=$(BUNDLE) cargo run --release -p fromagerie-bench --bin chat_latency -- --out bench/results/chat_latency.json

## bench-ann: vector search beside hnswlib, SVS and faiss, measured (set ROWS for another size)
ROWS ?= 200000
.PHONY: bench-ann
bench-ann: $(CACHE)/venv-ann/.stamp
	cargo build --release -p fromagerie-bench --bin contender
	$(CACHE)/venv-ann/bin/python bench/ann/run.py --rows $(ROWS) --rivals hnswlib,svs,faiss-hnsw,faiss-ivfpq --out bench/results/ann

## bench-text: the same over real text: sentences, and requests for pictures as queries from elsewhere, measured
.PHONY: bench-text
bench-text: setup $(CACHE)/venv-ann/.stamp $(CACHE)/venv-text/.stamp
	cargo build --release -p fromagerie-bench --bin contender
	$(CACHE)/venv-text/bin/python bench/ann/real_text.py --rows 60000 --out $(CACHE)/ann-text/60000
	$(CACHE)/venv-ann/bin/python bench/ann/run.py --rows 60000 --data $(CACHE)/ann-text --rivals hnswlib,faiss-hnsw,faiss-ivfpq --out bench/results/ann_text

$(CACHE)/venv-text/.stamp: bench/ann/requirements-text.txt
	python3 -m venv $(CACHE)/venv-text
	$(CACHE)/venv-text/bin/pip install --quiet -r $<
	touch $@

## bench-filters: searches that may only find some rows, beside faiss and qdrant-edge, measured
.PHONY: bench-filters
bench-filters: $(CACHE)/venv-ann/.stamp
	cargo build --release -p fromagerie-bench --bin shelf
	$(CACHE)/venv-ann/bin/python bench/ann/filters.py --rows $(ROWS) --rivals faiss,faiss-ivf,qdrant,qdrant-acorn \
		--data $(CACHE)/ann --out bench/results/filters.json

## bench-memory: search in a quarter of the vectors' bytes, beside faiss and LanceDB, measured (root needed; ROWS=1000000)
.PHONY: bench-memory
bench-memory: $(CACHE)/venv-ann/.stamp
	cargo build --release -p fromagerie-bench --bin shelf
	$(CACHE)/venv-ann/bin/python bench/ann/small_memory.py --rows $(ROWS) --rivals faiss,lancedb \
		--data $(CACHE)/ann --out bench/results/small_memory.json

## bench-layers: the same graph bare, through a collection, and over gRPC, measured
LAYERS := $(CACHE)/layers
.PHONY: bench-layers
bench-layers: $(CACHE)/venv-ann/.stamp $(BIN)
	cargo build --release -p fromagerie-bench --bin layers
	PYTHONPATH=bench/ann $(CACHE)/venv-ann/bin/python -c 'import data, pathlib; data.make(pathlib.Path("$(LAYERS)/data"), $(ROWS))'
	target/release/layers --base $(LAYERS)/data/base.npy --queries $(LAYERS)/data/queries_rows.npy --server $(BIN) \
		--work $(LAYERS) --out bench/results/layers.json

## bench-merge: a graph that keeps the links of a part of its rows, as a merge makes it, beside one built anew, measured
.PHONY: bench-merge
bench-merge: $(CACHE)/venv-ann/.stamp
	cargo build --release -p fromagerie-bench --bin merge_cost
	PYTHONPATH=bench/ann $(CACHE)/venv-ann/bin/python -c 'import data, pathlib; data.make(pathlib.Path("$(CACHE)/ann/$(ROWS)"), $(ROWS))'
	target/release/merge_cost $(CACHE)/ann/$(ROWS)/base.npy $(CACHE)/ann/$(ROWS)/queries_rows.npy $(CACHE)/ann/$(ROWS)/queries_text.npy \
		--out bench/results/merge.json

## bench-models: the model beside PyTorch, the demo's and an OPT-125M shape, measured
.PHONY: bench-models
bench-models: setup $(CACHE)/venv-models/.stamp $(BIN)
	for model in demo opt-125m; do \
		PYTHONPATH=python:bench/models $(VENV) bench/models/run.py --model $$model --binary $(BIN) \
			--torch $(CACHE)/venv-models/bin/python --out bench/results/models.json; \
	done
	python3 bench/models/report.py bench/results/models.json

$(CACHE)/venv-models/.stamp: bench/models/requirements.txt
	python3 -m venv $(CACHE)/venv-models
	$(CACHE)/venv-models/bin/python -m pip install --quiet -r $<
	touch $@

$(CACHE)/venv-ann/.stamp:
	python3 -m venv $(CACHE)/venv-ann
	$(CACHE)/venv-ann/bin/python -m pip install --quiet numpy==2.4.6 hnswlib==0.8.0 scalable-vs==0.5.0 faiss-cpu==1.15.1 \
		qdrant-edge-py==0.9.0 lancedb==0.40.0 pyarrow==26.0.1
	touch $@

.PHONY: bench-once
bench-once: setup debug
	$(VENV) bench/ann/run.py --rows 5000 --contender target/debug/contender
	target/debug/merge_cost $(CACHE)/ann/5000/base.npy $(CACHE)/ann/5000/queries_rows.npy
	$(VENV) bench/ann/filters.py --rows 5000 --shelf target/debug/shelf
	cargo test --workspace --bench dot --bench search
	FROMAGERIE_BUNDLE=$(BUNDLE) target/debug/chat_latency --once

## eval-demo: train on the train split and print the demo model's figures on held-out concepts (PyTorch, npm and apt needed)
.PHONY: eval-demo
eval-demo: $(CACHE)/venv-train/.stamp
	$(TRAIN) -m fromagerie.train.data --out $(CACHE)/train-data
	$(TRAIN) -m fromagerie.train.eval --data $(CACHE)/train-data --seeds 3

$(CACHE)/venv-train/.stamp: python/pyproject.toml
	python3 -m venv $(CACHE)/venv-train
	$(TRAIN) -m pip install --quiet "./python[train]"
	touch $@

## setup: fetch ONNX Runtime, models and pictures into .cache, and assemble the demo's bundle
.PHONY: setup
setup:
	@python3 python/fromagerie/setup demo

$(BIN): FORCE
	cargo build --release -p fromagerie-server

## clean: forget builds and the demo, keep downloads
.PHONY: clean
clean:
	cargo clean
	rm -rf .demo $(BUNDLE)

FORCE:
