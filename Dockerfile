# syntax=docker/dockerfile:1
# A small image that runs as nobody in particular and keeps its state in one volume.
#
#   docker build -t procura .
#   docker run -p 8420:8420 -v procura:/data -e PROCURA_ISSUER=https://auth.example.com procura

FROM rust:1-bookworm AS build
# The base image has what building needs, OpenSSL's headers included.
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --locked --release && cp target/release/procura /procura

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o 10001 -g 10001 -m 0700 /data
COPY --from=build /procura /usr/local/bin/procura
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME /data
# procura.toml is read from /data if it is there. In a container the ports are for the network in front of it; keep the
# second one (metrics) off the public side.
ENV PROCURA_LISTEN=0.0.0.0:8420 PROCURA_ADMIN_LISTEN=0.0.0.0:8421
EXPOSE 8420 8421
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["procura", "healthcheck"]
ENTRYPOINT ["procura"]
CMD ["serve"]
