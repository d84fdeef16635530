# The images, one for each program: one static binary and nothing else. No shell,
# no libc, no package manager.
#
#	buildah build -t sctp-agent:dev .
#	buildah build -t kubectl-sctp:dev --target kubectl-sctp .
#	buildah build -t sctp-mesh:dev --target sctp-mesh .
#	buildah build --build-arg BUILDPLATFORM=linux/amd64 \
#	  --platform linux/amd64,linux/arm64,linux/ppc64le,linux/s390x --manifest sctp-agent:dev .
#
# The builder runs on the machine's own platform and cross-compiles (buildah
# 1.28, which Debian 12 has, does not know that platform by itself); any image
# with the Go toolchain that go.mod asks for, and a shell, will do.
ARG BUILDER=docker.io/library/golang:1.26
FROM --platform=$BUILDPLATFORM ${BUILDER} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY LICENSE ./
COPY hack/build hack/build
COPY cmd cmd
COPY internal internal
COPY pkg pkg

# Each program is built in a stage of its own: an image takes only what it needs.
FROM build AS build-kubectl-sctp
ARG TARGETOS TARGETARCH
ARG VERSION=devel
ARG REVISION=unknown
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH hack/build /out/kubectl-sctp ./cmd/kubectl-sctp

FROM build AS build-sctp-mesh
ARG TARGETOS TARGETARCH
ARG VERSION=devel
ARG REVISION=unknown
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH hack/build /out/sctp-mesh ./cmd/sctp-mesh

FROM build AS build-sctp-agent
ARG TARGETOS TARGETARCH
ARG VERSION=devel
ARG REVISION=unknown
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH hack/build /out/sctp-agent

# The administrator's program, for CI jobs and CronJobs.
FROM scratch AS kubectl-sctp
ARG VERSION=devel
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="kubectl-sctp" \
      org.opencontainers.image.description="Audits and proves SCTP in a cluster: the kubectl plugin of sctp-agent" \
      org.opencontainers.image.source="https://github.com/sctp-agent/sctp-agent" \
      org.opencontainers.image.documentation="https://github.com/sctp-agent/sctp-agent/blob/main/README.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
COPY --from=build-kubectl-sctp /src/LICENSE /licenses/LICENSE
COPY --from=build-kubectl-sctp /out/kubectl-sctp /usr/bin/kubectl-sctp
USER 65532:65532
ENTRYPOINT ["/usr/bin/kubectl-sctp"]

# The mesh's program.
FROM scratch AS sctp-mesh
ARG VERSION=devel
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="sctp-mesh" \
      org.opencontainers.image.description="Probes SCTP between the nodes of a cluster, and concludes what is broken" \
      org.opencontainers.image.source="https://github.com/sctp-agent/sctp-agent" \
      org.opencontainers.image.documentation="https://github.com/sctp-agent/sctp-agent/blob/main/docs/mesh.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
COPY --from=build-sctp-mesh /src/LICENSE /licenses/LICENSE
COPY --from=build-sctp-mesh /out/sctp-mesh /usr/bin/sctp-mesh
USER 65532:65532
ENTRYPOINT ["/usr/bin/sctp-mesh"]

# The node's program, the default.
FROM scratch AS sctp-agent
ARG VERSION=devel
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="sctp-agent" \
      org.opencontainers.image.description="Reports which nodes of a cluster can run SCTP, and why the others cannot" \
      org.opencontainers.image.source="https://github.com/sctp-agent/sctp-agent" \
      org.opencontainers.image.documentation="https://github.com/sctp-agent/sctp-agent/blob/main/README.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
COPY --from=build-sctp-agent /src/LICENSE /licenses/LICENSE
COPY --from=build-sctp-agent /out/sctp-agent /usr/bin/sctp-agent
# The manifests' privileged profile runs as root.
USER 65532:65532
ENTRYPOINT ["/usr/bin/sctp-agent"]
