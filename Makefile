# What a newcomer needs: `make demo` and `make test`. CONTRIBUTING.md says the rest.
.PHONY: demo test bench check screenshots
.DEFAULT_GOAL := test

# The whole path in one command, e.g. make demo ARGS="--once --json".
demo:
	@scripts/get-postgres.sh
	@cargo run --locked -p rejoin -- demo $(ARGS)

# Everything, against a real PostgreSQL, the real command line clients, a real browser, Prisma and Drizzle; installs what is missing.
test:
	@scripts/get-postgres.sh --clients
	@scripts/get-chromium.sh
	@scripts/get-node.sh
	@scripts/get-schemas.sh
	@scripts/get-programs.sh
	@scripts/check-core.sh
	cargo test --locked --workspace

# What a change must pass before it is handed in.
check:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
	@$(MAKE) --no-print-directory test

# Takes the pictures of the pages in docs/screenshots anew.
screenshots:
	@scripts/get-postgres.sh --clients
	@scripts/get-chromium.sh
	cargo test --locked -p rejoin-tests --test screenshots -- --ignored

bench:
	@echo "make bench: nothing is measured yet; the benchmark comes with its own issue" >&2
	@exit 1
