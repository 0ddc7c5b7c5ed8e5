# What people and CI run. Each target makes what it needs; web/dist is made once and again when its sources change.
.PHONY: demo run release test test-clients check schema web

WEB := web/dist/index.html
WEB_SOURCES := web/package-lock.json web/vite.config.js web/index.html web/rest.html $(shell find web/src web/public -type f)

# A document goes in, progress moves, values and XML come out; then the server stays up.
demo: release
	./target/release/docket demo

# The server on its embedded default, in ./docket-data.
run: release
	./target/release/docket serve

release: $(WEB)
	cargo build --release --locked

# Every test, on SQLite and on PostgreSQL.
test: $(WEB)
	@url=$$(tools/test-postgres) && echo "PostgreSQL: $$url" && \
	DOCKET_TEST_POSTGRES_URL=$$url cargo test --workspace --locked
	@if command -v npm >/dev/null; then cd web && npm test; fi
	@if command -v npm >/dev/null && command -v python3 >/dev/null; then $(MAKE) test-clients; fi

# The clients that people use and the examples, against the program. Needs Node and Python; see tests/clients/README.md.
test-clients: $(WEB)
	cargo build --locked
	tests/clients/run

# Formatting, lints, and the schema that is kept in the repository.
check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo run --locked --quiet -- schema --check schema.graphql

# Prints the schema anew, after the API has changed.
schema:
	cargo run --locked --quiet -- schema > schema.graphql.new
	mv schema.graphql.new schema.graphql

web: $(WEB)

# Without Node the binary still builds; its GraphiQL page then says what is missing.
$(WEB): $(WEB_SOURCES)
	@if command -v npm >/dev/null; then \
		cd web && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build; \
	else \
		echo "npm is not installed: GraphiQL is left out of this build."; \
	fi
