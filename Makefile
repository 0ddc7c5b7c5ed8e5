.PHONY: test check web

# The GraphiQL page that the server embeds.
web:
	cd web && npm ci --no-audit --no-fund && npm run build

test: web
	cargo test --workspace --locked

check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
