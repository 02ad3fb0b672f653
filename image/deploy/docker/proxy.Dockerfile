# The host proxy: untrusted, holds no key.
# docker build -f image/deploy/docker/proxy.Dockerfile --build-arg RUST_IMAGE=docker.io/library/rust@sha256:DIGEST .
# RUST_IMAGE: Rust 1.95 on Debian 13. There is no default: take the digest from where you have checked it.
ARG RUST_IMAGE
FROM ${RUST_IMAGE} AS build
ARG RUST_IMAGE
# Images by digest and nothing else: a tag is whatever its registry says today.
RUN case "${RUST_IMAGE}" in *@sha256:*) ;; *) echo "RUST_IMAGE: expected NAME@sha256:DIGEST, got ${RUST_IMAGE}" >&2; exit 1 ;; esac
WORKDIR /source
COPY . .
# One static program: the final image holds nothing else.
ENV RUSTFLAGS="-C target-cpu=x86-64-v3 -C target-feature=+crt-static"
RUN cargo build --locked --release --target x86_64-unknown-linux-gnu -p hanzo-proxy \
    && install -D -m 0755 target/x86_64-unknown-linux-gnu/release/hanzo-proxy /out/usr/bin/hanzo-proxy

FROM scratch
COPY --from=build /out/ /
USER 65532:65532
EXPOSE 8443
ENTRYPOINT ["/usr/bin/hanzo-proxy"]
