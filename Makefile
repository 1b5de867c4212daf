# The commands of README.md. Each one first makes what it needs; nothing is
# done twice.
PLAN ?= plans/seed.yaml
export CCACHE_BASEDIR := $(CURDIR)

.PHONY: help run test build bench bench-decode bench-grow bench-memory \
        bench-save bench-tokenizer bench-all compare faults fuzz \
        asan tsan coverage tidy setup study-text wheel deb format clean

help:
	@echo 'make run      set up, build, run $(PLAN)' \
	      '(goes on where it stopped; FORCE=1 retrains, PLAN=...)'
	@echo 'make test     set up, build, run every test'
	@echo 'make bench    set up, build, measure training beside PyTorch' \
	      '(CASE=dense-fp32, BENCH=--no-peers: a part)'
	@echo 'make bench-decode   measure generation against read bandwidth' \
	      '(MODEL=runs/seed/checkpoints/large_moe_final.pt)'
	@echo 'make bench-memory   the seed plan'"'"'s last phase by optimizer:' \
	      'planned and measured peak (PARENT=its phase 3; 24 GB, 20 GB of disk)'
	@echo 'make bench-save   the seed plan'"'"'s first phase with and without' \
	      'saving state (BENCH="--steps 40 --save-steps 20": shorter)'
	@echo 'make bench-tokenizer   encoding speed of every kind of tokenizer' \
	      'beside its own library (BENCH="--only tekken": a part)'
	@echo 'make bench-all    all of these'
	@echo 'make bench-grow   growth from disk to disk against cp,' \
	      'in BENCH_DIR (56 GB of room)'
	@echo 'make compare  set up, build, train a small model with each' \
	      'optimizer and type, three seeds: what each costs in loss'
	@echo 'make faults   set up, build, kill and disturb runs and growth,' \
	      'count what is lost (FAULTS="--only kill --kills 50": a part)'
	@echo 'make fuzz     set up, build with clang, fuzz every reader of files' \
	      '(FUZZ_SECONDS=600 each, FUZZ_TARGETS="pt plan": a part)'
	@echo 'make asan     set up, build with clang, run every test under the' \
	      'address and undefined-behaviour sanitizers (TESTS=Pickle: a part)'
	@echo 'make tsan     the same under the thread sanitizer'
	@echo 'make coverage what make asan does, and the share of lines it ran'
	@echo 'make tidy     set up, clang-tidy every source (FILES=...: some)'
	@echo 'make build    set up, build the program: build/annuli'
	@echo 'make wheel    set up, build, make the Python package in dist/'
	@echo 'make deb      set up, build, make the Debian package in dist/'
	@echo 'make setup    packages, LibTorch and data only'
	@echo 'make study-text   the text and the vocabulary of plans/studies,' \
	      'into build/data/study'
	@echo 'make format   clang-format every source'
	@echo 'make clean    remove build/ (the cache and runs/ stay)'

run: build
	@build/annuli run $(PLAN) $(if $(FORCE),--force,--resume)

build:
	@tools/setup >/dev/null
	@tools/build annuli

test:
	@tools/setup --python >/dev/null
	@tools/build all
	@tools/test

bench:
	@tools/setup --python >/dev/null
	@tools/build annuli_step_bench >/dev/null
	@tools/build annuli_mkl_preload >/dev/null
	@build/python/bin/python3 benchmarks/bench.py $(CASE) \
	  --out benchmarks/results $(BENCH)

bench-tokenizer:
	@tools/setup --python >/dev/null
	@tools/build annuli_tokenizer_bench >/dev/null
	@build/python/bin/python3 benchmarks/tokenizer_speeds.py $(BENCH)

MODEL ?= runs/seed/checkpoints/large_moe_final.pt
bench-decode: build
	@tools/build annuli_decode_bench >/dev/null
	@mkdir -p benchmarks/results
	@build/annuli_decode_bench $(MODEL) benchmarks/results/decode.json

PARENT ?= runs/seed/checkpoints/medium_moe_final.pt
bench-memory:
	@tools/setup --python >/dev/null
	@tools/build annuli >/dev/null
	@build/python/bin/python3 benchmarks/peaks.py $(PARENT)

bench-save:
	@tools/setup --python >/dev/null
	@tools/build annuli >/dev/null
	@build/python/bin/python3 benchmarks/saving.py $(BENCH)

bench-all: bench bench-tokenizer bench-grow bench-decode bench-memory \
           bench-save

BENCH_DIR ?= build
bench-grow: build
	@tools/build annuli_grow_bench >/dev/null
	@build/annuli_grow_bench $(BENCH_DIR)

compare: build
	@tools/compare_losses

faults: build
	@tools/build annuli_faults >/dev/null
	@build/annuli_faults $(FAULTS)

FUZZ_SECONDS ?= 600
fuzz:
	@tools/setup --clang >/dev/null
	@tools/fuzz --seconds $(FUZZ_SECONDS) $(FUZZ_TARGETS)

asan tsan:
	@tools/setup --python --clang >/dev/null
	@tools/sanitize $@ $(TESTS)

# The count begins anew, so that a failed test's lines count too.
coverage:
	@rm -rf build-asan/profile
	@$(MAKE) --no-print-directory asan; tools/coverage

tidy:
	@tools/setup --tidy >/dev/null
	@tools/tidy $(FILES)

wheel:
	@tools/wheel

deb:
	@tools/deb

setup:
	@tools/setup

study-text:
	@tools/setup --study

format:
	@clang-format -i $$(git ls-files '*.h' '*.cpp')

clean:
	rm -rf build
