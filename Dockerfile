# The agent's image: one static binary and nothing else. No shell, no libc, no
# package manager.
#
#	buildah build -t sctp-agent:dev .
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
ARG TARGETOS TARGETARCH
ARG VERSION=devel
ARG REVISION=unknown
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH hack/build /out/sctp-agent

FROM scratch
ARG VERSION=devel
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="sctp-agent" \
      org.opencontainers.image.description="Tells which nodes of a cluster can really run SCTP, and why the others cannot" \
      org.opencontainers.image.source="https://github.com/sctp-agent/sctp-agent" \
      org.opencontainers.image.documentation="https://github.com/sctp-agent/sctp-agent/blob/main/README.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
COPY --from=build /src/LICENSE /licenses/LICENSE
COPY --from=build /out/sctp-agent /usr/bin/sctp-agent
# The manifests' privileged profile says otherwise.
USER 65532:65532
ENTRYPOINT ["/usr/bin/sctp-agent"]
