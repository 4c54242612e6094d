# Installs the packages given as arguments and creates the user $RUN_USER, reproducibly: no logs,
# no lists, and one timestamp for everything that was created or changed. Lists and packages are kept
# in the cache volume; if $OFFLINE is not empty, nothing else is used.
set -eu
begin=$(date +%s.%N)
export DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH=315532800 PYTHONHASHSEED=0
# Debian's images delete downloaded packages, which would leave the cache volume empty.
rm -f /etc/apt/apt.conf.d/docker-clean
mkdir -p /var/cache/apt/lists/partial
if [ -n "${CA_BUNDLE:-}" ]; then
    [ -f "$CA_BUNDLE" ] || { echo "$CA_BUNDLE is missing from the cache volume" >&2; exit 1; }
    export SSL_CERT_FILE="$CA_BUNDLE"
fi
apt() {
    apt-get --quiet -o Dir::State::Lists=/var/cache/apt/lists -o APT::Keep-Downloaded-Packages=true \
        ${SSL_CERT_FILE:+-o "Acquire::https::CaInfo=$SSL_CERT_FILE"} "$@"
}
if [ -z "${OFFLINE:-}" ]; then
    apt update
    apt install --yes --no-install-recommends "$@"
else
    apt install --yes --no-install-recommends --no-download "$@" || {
        echo "not all packages ($*) are cached: run the same command once without --offline." >&2
        exit 1
    }
fi
# A user that the base has stays as it is. Ubuntu's has one with the id 1000, which nothing uses.
if getent passwd "$RUN_USER" >/dev/null; then
    getent group "$RUN_USER" >/dev/null || groupadd --system "$RUN_USER"
else
    other=$(getent passwd 1000 | cut -d: -f1)
    [ -z "$other" ] || userdel --remove "$other" 2>/dev/null
    useradd --uid 1000 --user-group --create-home --shell /bin/bash "$RUN_USER"
fi
if [ -n "${WANTED_PYTHON:-}" ]; then
    found=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    [ "$found" = "$WANTED_PYTHON" ] || {
        echo "the base has Python $found, but layerline.toml has python = \"$WANTED_PYTHON\":" \
            "leave out base.image, or use one with Python $WANTED_PYTHON" >&2
        exit 1
    }
fi
python3 -m venv --without-pip "$PREFIX"
rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/log/alternatives.log \
    /var/cache/ldconfig/aux-cache
# Mounts are not part of the result.
find / -xdev -newermt "@$begin" -not -path '/mnt/*' \
    -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
