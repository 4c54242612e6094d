# Installs the packages given as arguments and makes the run user $RUN_USER, so that the result is
# the same on every machine: no logs, no lists, and one time for all that was made or changed.
# Lists and packages are kept in the cache volume; $OFFLINE, if it is not empty, forbids all other
# sources.
set -eu
begin=$(date +%s.%N)
export DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH=315532800 PYTHONHASHSEED=0
# Debian's images throw downloaded packages away, which would leave nothing in the cache volume.
rm -f /etc/apt/apt.conf.d/docker-clean
mkdir -p /var/cache/apt/lists/partial
apt() {
    apt-get --quiet -o Dir::State::Lists=/var/cache/apt/lists -o APT::Keep-Downloaded-Packages=true \
        ${SSL_CERT_FILE:+-o "Acquire::https::CaInfo=$SSL_CERT_FILE"} "$@"
}
if [ -z "${OFFLINE:-}" ]; then
    apt update
    apt install --yes --no-install-recommends "$@"
else
    apt install --yes --no-install-recommends --no-download "$@" || {
        echo "Not all packages ($*) are kept: run the same command once without --offline." >&2
        exit 1
    }
fi
if [ "$RUN_USER" != root ]; then
    useradd --uid 1000 --user-group --create-home --shell /bin/bash "$RUN_USER"
fi
python3 -m venv --without-pip "$PREFIX"
rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/log/alternatives.log \
    /var/cache/ldconfig/aux-cache
# What is mounted is not part of the result.
find / -xdev -newermt "@$begin" -not -path '/mnt/*' \
    -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
