# Outrigger in one image: the service, and valkey for the embedded store. It runs as an unprivileged user with a read-only
# root; the one thing that must be writable is the volume /var/lib/outrigger.
#   docker run -v outrigger:/var/lib/outrigger -v /etc/outrigger:/etc/outrigger:ro -p 9177:9177 --read-only outrigger

FROM node:26-trixie-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
COPY docs/runbooks.md ./docs/
RUN npm run build && npm prune --omit=dev --ignore-scripts

FROM node:26-trixie-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends valkey-server tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 9177 --home-dir /var/lib/outrigger --shell /usr/sbin/nologin outrigger \
 && install -d -o outrigger -g outrigger -m 0700 /var/lib/outrigger
WORKDIR /opt/outrigger
COPY --from=build /build/package.json ./
COPY --from=build /build/node_modules ./node_modules
COPY --from=build /build/dist ./dist
COPY inventory.example.yaml LICENSE ./
RUN ln -s /opt/outrigger/dist/cli/main.js /usr/local/bin/outrigger
ENV NODE_ENV=production \
    AGENT_INVENTORY=/etc/outrigger/inventory.yaml \
    AGENT_DATA_DIR=/var/lib/outrigger \
    AGENT_LISTEN=0.0.0.0:9177
USER outrigger
VOLUME /var/lib/outrigger
EXPOSE 9177
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:9177/livez', { signal: AbortSignal.timeout(4000) }).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["tini", "--", "outrigger"]
CMD ["run"]
