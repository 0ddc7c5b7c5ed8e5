# The targets that people and CI run. Each builds its prerequisites. web/dist is rebuilt when its sources change.
.PHONY: demo run release test test-clients check schema web

WEB := web/dist/index.html
WEB_SOURCES := web/package-lock.json web/vite.config.js web/index.html web/rest.html $(shell find web/src web/public -type f)

# Processes a sample document, prints its progress, values and XML, and keeps the server running.
demo: release
	./target/release/docket demo

# Starts the server with the embedded database, in ./docket-data.
run: release
	./target/release/docket serve

release: $(WEB)
	cargo build --release --locked

# Runs every test, on SQLite and on PostgreSQL.
test: $(WEB)
	@url=$$(tools/test-postgres) && echo "PostgreSQL: $$url" && \
	DOCKET_TEST_POSTGRES_URL=$$url cargo test --workspace --locked
	@if command -v npm >/dev/null; then cd web && npm test; fi
	@if command -v npm >/dev/null && command -v python3 >/dev/null; then $(MAKE) test-clients; fi

# Tests common clients and the examples against the program. Needs Node and Python; see tests/clients/README.md.
test-clients: $(WEB)
	cargo build --locked
	tests/clients/run

# Checks English and spelling, dependencies, formatting and lints, and compares schema.graphql with the program.
check:
	tools/check-english
	tools/check-spelling
	tools/check-dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo run --locked --quiet -- schema --check schema.graphql

# Updates schema.graphql after a change of the API.
schema:
	cargo run --locked --quiet -- schema > schema.graphql.new
	mv schema.graphql.new schema.graphql

web: $(WEB)

# Without Node the program still builds. Its GraphiQL page then explains what is missing.
$(WEB): $(WEB_SOURCES)
	@if command -v npm >/dev/null; then \
		cd web && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build; \
	else \
		echo "npm is not installed: this build does not include GraphiQL."; \
	fi
