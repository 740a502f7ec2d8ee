#!/bin/bash
# Installs the distribution's packages that are missing, on Debian and Ubuntu, and says which and why.
#
#   node/install-packages.sh node              what a machine needs to run containers
#   node/install-packages.sh images            ... to build the example images
#   node/install-packages.sh python            ... to make the project's virtual environment
#   node/install-packages.sh tests             ... to run the project's own tests
#
# Several groups may be named. What is there already, from a package or not, is left alone; apt-get runs only if
# something is missing, and as root or through sudo. Reads nothing from its standard input.
set -euo pipefail

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
missing=""

say() {
    echo "packages: $*"
}

refuse() {
    echo "packages: $*" >&2
    exit 1
}

# want PACKAGE WHY CHECK...: note the package as missing if the check fails
want() {
    package=$1 why=$2
    shift 2
    if ! "$@" >/dev/null 2>&1; then
        say "$package is missing: $why"
        missing="$missing $package"
    fi
}

command_exists() {
    command -v "$1"
}

library_exists() {
    ldconfig -p | grep -F "$1 "
}

want_node() {
    want crun "runs the containers (an OCI runtime)" command_exists crun
    want libnftables1 "loads the firewall between containers" library_exists libnftables.so.1
    want libsodium23 "makes and keeps the keys of accounts" library_exists libsodium.so.23
    want uidmap "gives a user's containers user numbers of their own" command_exists newuidmap
}

want_images() {
    want mmdebstrap "builds the example images from the distribution's packages" command_exists mmdebstrap
}

want_tests() {
    want runc "is tried as well: it stands in where there is no crun" command_exists runc
    want curl "reads metrics as the operator's guide does" command_exists curl
    want iproute2 "lays the networks that tests look at from outside" command_exists ip
    want procps "is run in containers by the seeds' programs (ps, vmstat)" command_exists vmstat
    want nftables "shows tests the firewall that was loaded" command_exists nft
    want iptables "makes a firewall such as Docker's, for tests to get along with" command_exists iptables
    want tmux "is the terminal that interactive commands are tried in" command_exists tmux
    want zstd "compresses layers for tests" command_exists zstd
    want btrfs-progs "makes a btrfs to try its storage driver on" command_exists mkfs.btrfs
    want xfsprogs "makes an xfs to try what shared blocks save" command_exists mkfs.xfs
    want man-db "shows the man pages to tests" command_exists man
    want mandoc "finds mistakes in the man pages" command_exists mandoc
    want bash-completion "loads our completion into bash, in tests" test -e /usr/share/bash-completion/bash_completion
    want zsh "completes our commands, in tests" command_exists zsh
    want fish "completes our commands, in tests" command_exists fish
    want openssh-client "is what users say ssh, sftp and scp with" command_exists ssh
    want rsync "copies over ssh, and runs in a container for that" command_exists rsync
}

want_python() {
    python=$(.ci/find-python || true)
    if [ -z "$python" ]; then
        refresh_lists
        version=$(newest_python_package)
        if [ -z "$version" ]; then
            refuse "Python 3.11 or newer is needed; neither PATH nor this distribution has it: install one and put it on PATH"
        fi
        want "python$version" "the project needs Python 3.11 or newer" false
        want "python$version-venv" "makes the project's virtual environment" false
    else
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        want "python$version-venv" "makes the project's virtual environment" "$python" -c "import ensurepip, venv"
    fi
}

newest_python_package() {
    for version in 3.14 3.13 3.12 3.11; do
        if apt-cache show "python$version-venv" >/dev/null 2>&1; then
            echo "$version"
            return
        fi
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        refuse "only root can install packages and there is no sudo; as root, run: apt-get install$missing"
    fi
}

lists_are_fresh=""
refresh_lists() {
    if ! command -v apt-get >/dev/null 2>&1; then
        refuse "this is neither Debian nor Ubuntu: install the equivalents of${missing:- Python 3.11} with your package manager"
    fi
    if [ -z "$lists_are_fresh" ]; then
        say "fetching the lists of available packages (apt-get update)"
        as_root apt-get update -qq
        lists_are_fresh=yes
    fi
}

# What apt-get says, reduced to what is fetched and set up; its errors go their own way.
progress() {
    sed -u -n -e 's/^Need to get \([1-9][^/]*\) of archives.*/packages: fetching \1/p' -e 's/^Setting up \([^ ]*\).*/packages: set up \1/p'
}

install_missing() {
    refresh_lists
    say "installing$missing"
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing | progress
}

# ZFS in user space, to try the zfs driver on: unpacked for the tests, not installed, because installed it starts a daemon.
zfs_fuse=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/pytest-tf/zfs-fuse

unpack_zfs_fuse() {
    if [ -e "$zfs_fuse/sbin/zfs-fuse" ]; then
        return
    fi
    apt-cache show zfs-fuse >/dev/null 2>&1 || refresh_lists
    libraries=$(apt-cache depends zfs-fuse 2>/dev/null | sed -n 's/^ *Depends: \(libfuse2[a-z0-9]*\|libaio1[a-z0-9]*\)$/\1/p' || true)
    if [ -z "$libraries" ]; then
        say "this distribution has no zfs-fuse: the tests of the zfs driver will be skipped"
        return
    fi
    say "unpacking zfs-fuse in $zfs_fuse, to try the zfs driver on"
    rm -rf "$zfs_fuse.new"
    mkdir -p "$zfs_fuse.new"
    # shellcheck disable=SC2086 # a list of words
    (cd "$zfs_fuse.new" && apt-get download -qq -o APT::Sandbox::User=root zfs-fuse $libraries && for package in *.deb; do dpkg -x "$package" .; done && rm ./*.deb)
    mv "$zfs_fuse.new" "$zfs_fuse"
}

cd "$(dirname "$0")/.."
exec </dev/null
unpack=""
for group in "$@"; do
    case $group in
        node) want_node ;;
        images) want_images ;;
        python) want_python ;;
        tests)
            want_tests
            unpack=yes
            ;;
        *) refuse "there is no group '$group': node, images, python, tests" ;;
    esac
done
if [ -n "$missing" ]; then
    install_missing
    say "installed$missing"
fi
if [ -n "$unpack" ]; then
    unpack_zfs_fuse
fi
