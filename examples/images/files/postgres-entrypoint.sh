#!/bin/sh
# Starts PostgreSQL, making the cluster first if the data directory is empty. Understands the variables of the official
# image: POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, POSTGRES_HOST_AUTH_METHOD, POSTGRES_INITDB_ARGS, PGDATA, and
# /docker-entrypoint-initdb.d/*.sql and *.sh. Any command other than postgres is run as given.
set -eu

refuse() {
    echo "postgres image: $1" >&2
    exit 1
}

become_postgres() {
    mkdir -p "$PGDATA" /run/postgresql
    # Only what is not postgres's already: after a rollback, telling overlayfs the owner a file has makes it copy the file.
    find "$PGDATA" /run/postgresql ! -user postgres -exec chown postgres:postgres {} +
    chmod 700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
}

make_cluster() {
    user=${POSTGRES_USER:-postgres}
    database=${POSTGRES_DB:-$user}
    method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
    if [ -z "${POSTGRES_PASSWORD-}" ] && [ "$method" != trust ]; then
        refuse "set POSTGRES_PASSWORD, or POSTGRES_HOST_AUTH_METHOD=trust to let everybody in without one"
    fi
    if [ -n "${POSTGRES_PASSWORD-}" ]; then
        password_file=$(mktemp)
        trap 'rm -f "$password_file"' EXIT
        printf '%s\n' "$POSTGRES_PASSWORD" >"$password_file"
        set -- --pwfile="$password_file"
    fi
    # shellcheck disable=SC2086 # POSTGRES_INITDB_ARGS is a list of words
    initdb --pgdata="$PGDATA" --username="$user" --auth=trust --encoding=UTF8 --locale=C.UTF-8 "$@" ${POSTGRES_INITDB_ARGS-}
    if [ -n "${password_file-}" ]; then
        rm "$password_file"
        trap - EXIT
    fi
    printf 'host all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
    # After a rollback the files are those of a crash at that moment; syncing the file system once is hundreds of times
    # faster than opening every file of the cluster to do the same.
    printf "listen_addresses = '*'\nrecovery_init_sync_method = syncfs\n" >>"$PGDATA/postgresql.conf"
    if [ "$database" != postgres ]; then
        printf 'CREATE DATABASE "%s"\n' "$database" | postgres --single -D "$PGDATA" postgres >/dev/null
    fi
    run_init_files
}

run_init_files() {
    set -- /docker-entrypoint-initdb.d/*
    if [ ! -e "$1" ]; then
        return
    fi
    pg_ctl --pgdata="$PGDATA" --wait --silent --options="-c listen_addresses=''" start
    for file; do
        case "$file" in
            *.sql) psql --no-psqlrc -v ON_ERROR_STOP=1 --username="$user" --dbname="$database" --file="$file" ;;
            *.sh) sh "$file" ;;
            *) echo "postgres image: $file is neither *.sql nor *.sh, ignored" >&2 ;;
        esac
    done
    pg_ctl --pgdata="$PGDATA" --wait --silent --mode=fast stop
}

case "${1-}" in
    "" | -*) set -- postgres "$@" ;;
esac
if [ "$1" = postgres ]; then
    if [ "$(id -u)" = 0 ]; then
        become_postgres "$@"
    fi
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
        make_cluster
    fi
fi
exec "$@"
