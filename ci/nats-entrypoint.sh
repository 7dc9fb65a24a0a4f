#!/bin/sh
# Behaves like the official image's: options alone are options of the server.
case "${1:-}" in '' | -*) set -- nats-server "$@" ;; esac
exec "$@"
