# Both services: `docker build --target publisher .` and `docker build --target sync-worker .`

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# The caches outlive the layer, so the binaries are copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bins -p tributary-publisher -p tributary-sync-worker \
    && install -D -t /out target/release/tributary-publisher target/release/tributary-sync-worker

FROM debian:bookworm-slim AS runtime
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --user-group --uid 10001 --shell /usr/sbin/nologin \
        --home-dir /var/lib/tributary --create-home tributary
COPY LICENSE-APACHE LICENSE-MIT /usr/share/doc/tributary/
USER tributary
WORKDIR /var/lib/tributary
STOPSIGNAL SIGTERM

# In the cloud. Configuration: /etc/tributary/sync-worker.toml, or TRIBUTARY_… variables.
FROM runtime AS sync-worker
COPY --from=build /out/tributary-sync-worker /usr/local/bin/
EXPOSE 9602
ENTRYPOINT ["tributary-sync-worker"]
CMD ["--config", "/etc/tributary/sync-worker.toml"]

# On a device. Configuration: /etc/tributary/publisher.toml, or TRIBUTARY_… variables. /var/lib/tributary
# holds the checkpoint: a cache, worth a volume.
FROM runtime AS publisher
COPY --from=build /out/tributary-publisher /usr/local/bin/
VOLUME /var/lib/tributary
EXPOSE 9464
ENTRYPOINT ["tributary-publisher"]
CMD ["--config", "/etc/tributary/publisher.toml"]
