# QEMU, a software TPM and one measured image: what runs the guest. Nobody believes any of it.
# docker build -f image/deploy/docker/vm.Dockerfile --build-arg RUST_IMAGE=... --build-arg BASE_IMAGE=docker.io/library/debian@sha256:DIGEST \
#     --build-context image=DIR .    (DIR: what `hanzo-image build` made; it is copied as it is)
# RUST_IMAGE: Rust 1.95 on Debian 13. BASE_IMAGE: Debian 13. There are no defaults: take the digests from where you have checked them.
ARG RUST_IMAGE
ARG BASE_IMAGE
FROM ${RUST_IMAGE} AS build
ARG RUST_IMAGE
# Images by digest and nothing else: a tag is whatever its registry says today.
RUN case "${RUST_IMAGE}" in *@sha256:*) ;; *) echo "RUST_IMAGE: expected NAME@sha256:DIGEST, got ${RUST_IMAGE}" >&2; exit 1 ;; esac
WORKDIR /source
COPY . .
RUN cargo build --locked --release -p hanzo-image \
    && install -D -m 0755 target/release/hanzo-image /out/usr/bin/hanzo-image

FROM ${BASE_IMAGE}
ARG BASE_IMAGE
RUN case "${BASE_IMAGE}" in *@sha256:*) ;; *) echo "BASE_IMAGE: expected NAME@sha256:DIGEST, got ${BASE_IMAGE}" >&2; exit 1 ;; esac
# Versions are the base's: what counts is measured inside the guest.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends qemu-system-x86 swtpm swtpm-tools util-linux \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/ /
# `image` is the context named above.
# hadolint ignore=DL3022
COPY --from=image / /image/
USER 65532:65532
ENTRYPOINT ["/usr/bin/hanzo-image"]
