# The key broker outside a TEE: whoever runs the machine is trusted with its keys.
# docker build -f image/deploy/docker/kbs.Dockerfile --build-arg RUST_IMAGE=docker.io/library/rust@sha256:DIGEST .
# RUST_IMAGE: Rust 1.95 on Debian 13. There is no default: take the digest from where you have checked it.
ARG RUST_IMAGE
FROM ${RUST_IMAGE} AS build
ARG RUST_IMAGE
# Images by digest and nothing else: a tag is whatever its registry says today.
RUN case "${RUST_IMAGE}" in *@sha256:*) ;; *) echo "RUST_IMAGE: expected NAME@sha256:DIGEST, got ${RUST_IMAGE}" >&2; exit 1 ;; esac
# SQLCipher takes the system's libcrypto.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends libssl-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
ENV RUSTFLAGS="-C target-cpu=x86-64-v3"
# The program and the libraries it loads: a static one could load no PKCS #11 module. A TPM as root or fence needs tpm2-tools,
# which are not here.
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN cargo build --locked --release -p hanzo-kbs \
    && install -D -m 0755 target/release/hanzo-kbs /out/usr/bin/hanzo-kbs \
    && ldd target/release/hanzo-kbs | grep -o '/[^ ]*' | sort -u | while read -r library; do install -D "${library}" "/out${library}"; done \
    && install -d -o 65532 -g 65532 -m 0700 /out/var/lib/hanzo-kbs

FROM scratch
COPY --from=build /out/ /
USER 65532:65532
EXPOSE 8090
ENTRYPOINT ["/usr/bin/hanzo-kbs"]
CMD ["serve", "--config", "/etc/hanzo-kbs/kbs.toml"]
