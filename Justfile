# Every verb a person or CI uses. `just` lists them.

default:
    @just --list

# The whole appliance on loopback, on the simulated TEE
up *ARGS:
    cargo run --bin hanzo -- up {{ARGS}}

# All tests
test:
    cargo test --manifest-path enclave/chain/validator/Cargo.toml && cargo test

# The AI chain's validator alone
test-chain:
    cargo test --manifest-path enclave/chain/validator/Cargo.toml

# Everything but the crates that link the engine library: minutes instead of half an hour on a cold machine
test-fast:
    cargo test --workspace --exclude hanzo-engine --exclude hanzo

# The layer rules and house rules alone
tidy:
    cargo test -p hanzo-tests-tidy

# Formatting and lints
lint:
    cargo fmt --all --check
    cargo fmt --manifest-path enclave/chain/validator/Cargo.toml --all --check
    cargo clippy --workspace --exclude hanzo-engine --exclude hanzo --all-targets
    cargo clippy --manifest-path enclave/chain/validator/Cargo.toml --all-targets

# Licences, sources and duplicate crates (needs cargo-deny)
deny:
    cargo deny check bans licenses sources

# Every benchmark; each prints both sides of a comparison from one run
bench:
    cargo bench --profile dev -p hanzo-pqc --bench pqc
    cargo bench -p hanzo-attestation --bench snp
    cargo bench -p hanzo-attestation --bench tdx
    cargo bench -p hanzo-verifier --bench verdicts
    cargo bench -p hanzo-verifier --bench memory
    cargo bench --profile dist -p hanzo-kbs --bench exchange
    cargo bench -p hanzo-measured-boot --bench launch_digest
    cargo bench --profile dev -p hanzo-pack --bench open
    cargo bench -p hanzo-proxy --bench forward
    cargo bench -p hanzo-proxy --bench soak
    cargo bench -p hanzo-guest --bench windows
    cargo bench --profile dist -p hanzo-guest --bench edge
    cargo bench --manifest-path enclave/chain/validator/Cargo.toml --profile dev -p hanzo-chain --bench chain
    cargo run --bin hanzo -- bench

# The production binaries, optimised across crates and stripped
dist:
    cargo build --profile dist -p hanzo-guest -p hanzo-kbs -p hanzo-proxy -p hanzo-discover -p hanzo-egress -p hanzo-relay -p hanzo-verify

# The same in half the time, a little slower and larger
release:
    cargo build --release -p hanzo-guest -p hanzo-kbs -p hanzo-proxy -p hanzo-discover -p hanzo-egress -p hanzo-relay -p hanzo-verify

# `hanzo-verify` and `hanzo-guest` without any shared library, for any Linux on x86-64-v3
static:
    RUSTFLAGS="-C target-cpu=x86-64-v3 -C target-feature=+crt-static" cargo build --release --target x86_64-unknown-linux-gnu -p hanzo-verify -p hanzo-guest

# Turns every single bit of accepted evidence around (an hour on two cores; `cargo test` does a part of it)
bitflip:
    HANZO_BITFLIP=all cargo test -p hanzo-attestation --test bitflip -- --test-threads 2

# Fuzzes every target: RUNS each, or of the TARGETS that are named (default: 20,000 of all)
fuzz *ARGS:
    tests/fuzz/run {{ARGS}}
