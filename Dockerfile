# One image for worker, enqueue and fakecloud. The first stage takes programs that
# were built outside, for machines that can pull no images; it has no CA
# certificates, so it is for the simulated cloud. The last stage, the default,
# builds the programs and has them.
#
#   docker build -t ddsworker .
#   CGO_ENABLED=0 go build -o bin/ ./cmd/... && docker build -t ddsworker --target prebuilt .

FROM scratch AS prebuilt
COPY bin/worker bin/enqueue bin/fakecloud /
# A new volume takes the owner of the directory it covers, and the worker writes there.
COPY --chown=65532:65532 deploy/secrets /secrets
USER 65532:65532
ENTRYPOINT ["/worker"]

FROM golang:1.26-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -o /out/ ./cmd/worker ./cmd/enqueue ./cmd/fakecloud

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/worker /out/enqueue /out/fakecloud /
COPY --chown=65532:65532 deploy/secrets /secrets
USER 65532:65532
ENTRYPOINT ["/worker"]
