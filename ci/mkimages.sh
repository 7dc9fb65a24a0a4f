#!/bin/sh
# Makes local stand-ins for the images that tests and docker-compose.yml name, on
# a machine that can reach no registry: from Debian's packages (postgresql,
# busybox-static) and the Go module proxy. An image that is there already is left
# alone. Whatever its tag says, the stand-in for Postgres is Debian's version.
#
# usage: ci/mkimages.sh postgres|nats|golang ...
set -eu
cd "$(dirname "$0")"
PG_TAG=${PG_TAG:-postgres:17-alpine} NATS_TAG=${NATS_TAG:-nats:2.15-alpine} GO_TAG=${GO_TAG:-golang:1.26-alpine}
W=$(mktemp -d)
chmod 755 "$W"
trap 'rm -rf "$W"' EXIT

have() {
  docker image inspect "$1" >/dev/null 2>&1 && echo "$1 is there"
}

busybox_root() { # a root directory $1 with busybox's commands and three users
  [ -x /bin/busybox ] || { echo "mkimages: install busybox-static" >&2; exit 1; }
  mkdir -p "$1/bin" "$1/tmp" "$1/etc"
  chmod 1777 "$1/tmp"
  cp /bin/busybox "$1/bin/"
  for applet in $(/bin/busybox --list | grep -vx busybox); do ln -sf busybox "$1/bin/$applet"; done
  printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'postgres:x:70:70::/var/lib/postgresql:/bin/sh' \
    'nobody:x:65534:65534::/:/bin/false' >"$1/etc/passwd"
  printf '%s\n' 'root:x:0:' 'postgres:x:70:' 'nogroup:x:65534:' >"$1/etc/group"
}

with_libs() { # copies files of this machine, and the libraries they load, to the root directory $1
  root=$1
  shift
  {
    printf '%s\n' "$@"
    for file in "$@"; do ldd "$file" 2>/dev/null | grep -o '/[^ ]*' || :; done
  } | sort -u | tar -C / -chf - -T - --transform 's,^/,,' 2>/dev/null | tar -C "$root" -xf -
}

postgres() {
  # shellcheck disable=SC2012 # version numbers
  version=$(ls /usr/lib/postgresql 2>/dev/null | sort -n | tail -1)
  [ -n "$version" ] || { echo "mkimages: install postgresql" >&2; exit 1; }
  from=/usr/lib/postgresql/$version root=$W/postgres share=/usr/share/postgresql/$version
  mkdir -p "$root/usr/lib" "$root/usr/lib64"
  ln -s usr/lib "$root/lib"
  ln -s usr/lib64 "$root/lib64"
  busybox_root "$root"
  rm -f "$root/bin/setpriv" # busybox's cannot change the user
  with_libs "$root" "$from/bin/postgres" "$from/bin/initdb" "$from/bin/pg_ctl" "$from/bin/psql" "$from/bin/pg_isready" \
    "$from/bin/createdb" "$from/bin/pg_dump" /usr/bin/setpriv "$from"/lib/*.so
  find "$root" \( -name 'llvmjit.so' -o -name 'libLLVM*' \) -delete # 100 MB for a JIT that tests do not use
  tar -C / -cf - --exclude=man "${share#/}" usr/share/zoneinfo usr/lib/locale/C.utf8 | tar -C "$root" -xf -
  sed -i "s/^#listen_addresses = 'localhost'/listen_addresses = '*'/" "$root$share/postgresql.conf.sample"
  mkdir -p "$root/var/lib/postgresql/data" "$root/var/run/postgresql" "$root/docker-entrypoint-initdb.d" "$root/usr/local/bin" "$root/root"
  install -m 755 pg-entrypoint.sh "$root/usr/local/bin/docker-entrypoint.sh"
  chown -R 70:70 "$root/var/lib/postgresql" "$root/var/run/postgresql"
  tar -C "$root" -c . | docker import \
    -c "ENV PATH=$from/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 PGDATA=/var/lib/postgresql/data PG_MAJOR=$version" \
    -c 'VOLUME /var/lib/postgresql/data' -c 'EXPOSE 5432' \
    -c 'ENTRYPOINT ["docker-entrypoint.sh"]' -c 'CMD ["postgres"]' - "unfinished-postgres:$version" >/dev/null
  # import cannot set the signal. Without it a stop waits 10 s for open
  # connections: SIGTERM is Postgres's smart shutdown.
  printf 'FROM %s\nSTOPSIGNAL SIGINT\n' "unfinished-postgres:$version" | DOCKER_BUILDKIT=0 docker build -q -t "$PG_TAG" - 2>/dev/null
  docker rmi "unfinished-postgres:$version" >/dev/null
}

nats() {
  root=$W/nats
  busybox_root "$root"
  mkdir -p "$root/usr/local/bin" "$root/etc/nats"
  version=$(go list -m -f '{{.Version}}' github.com/nats-io/nats-server/v2) # the one that is embedded elsewhere
  GOBIN=$root/usr/local/bin GOFLAGS='' CGO_ENABLED=0 go install -trimpath -ldflags='-s -w' "github.com/nats-io/nats-server/v2@$version"
  install -m 755 nats-entrypoint.sh "$root/usr/local/bin/docker-entrypoint.sh"
  printf 'port: 4222\nmonitor_port: 8222\n' >"$root/etc/nats/nats-server.conf"
  tar -C "$root" -c . | docker import -c 'ENV PATH=/usr/local/bin:/bin' -c 'EXPOSE 4222 8222 6222' \
    -c 'ENTRYPOINT ["docker-entrypoint.sh"]' \
    -c 'CMD ["nats-server","--config","/etc/nats/nats-server.conf"]' - "$NATS_TAG"
}

golang() {
  root=$W/golang goroot=$(go env GOROOT)
  busybox_root "$root"
  mkdir -p "$root/etc/ssl/certs" "$root/root" "$root/usr/local" "$root/go"
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  tar -C "$root" -cf "$W/golang.tar" .
  tar -rf "$W/golang.tar" -C "$goroot" --exclude=./test --exclude=./api --exclude=./doc --transform 's,^\.,usr/local/go,' .
  docker import -c 'ENV PATH=/go/bin:/usr/local/go/bin:/bin GOPATH=/go GOTOOLCHAIN=local HOME=/root' \
    -c 'WORKDIR /go' -c 'CMD ["sh"]' - "$GO_TAG" <"$W/golang.tar"
}

for image in "$@"; do
  case $image in
    postgres) have "$PG_TAG" || postgres ;;
    nats) have "$NATS_TAG" || nats ;;
    golang) have "$GO_TAG" || golang ;;
    *) echo "mkimages: $image is not one of postgres, nats, golang" >&2; exit 1 ;;
  esac
done
