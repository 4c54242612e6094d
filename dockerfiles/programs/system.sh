# Installs the packages given as arguments and makes the run user $RUN_USER, so that the result is
# the same on every machine: no logs, no lists, and one time for all that was made or changed.
set -eu
begin=$(date +%s.%N)
export DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH=315532800 PYTHONHASHSEED=0
# Debian's images throw downloaded packages away, which would leave nothing in the cache volume.
rm -f /etc/apt/apt.conf.d/docker-clean
apt-get update --quiet
apt-get install --yes --quiet --no-install-recommends -o APT::Keep-Downloaded-Packages=true "$@"
if [ "$RUN_USER" != root ]; then
    useradd --uid 1000 --user-group --create-home --shell /bin/bash "$RUN_USER"
fi
python3 -m venv --without-pip "$PREFIX"
rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/log/alternatives.log \
    /var/cache/ldconfig/aux-cache
find / -xdev -newermt "@$begin" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
