#!/bin/sh
# Runs redis-server so that it can be reached from outside its container; any other command is run as given.
set -eu

case "${1-}" in
    "" | -* | *.conf) set -- redis-server "$@" ;;
esac
if [ "$1" != redis-server ]; then
    exec "$@"
fi
shift

# A configuration file must stay the first argument, and what the user says comes after our defaults and wins.
case "${1-}" in
    "" | -*) exec redis-server --bind 0.0.0.0 --protected-mode no "$@" ;;
esac
config=$1
shift
exec redis-server "$config" --bind 0.0.0.0 --protected-mode no "$@"
