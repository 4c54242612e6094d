# Makes apt use the sources in $SNAPSHOT, one in each line, instead of those of the base. Their list and its configuration
# are in the cache volume: the image keeps its own. A line is one of sources.list(5), or the URL of a snapshot, whose
# release files have expired.
set -eu
export DEBIAN_FRONTEND=noninteractive
volume=${APT_VOLUME:-/var/cache/apt}
use_sources() { # of a directory with a sources.list
    printf 'Dir::Etc::SourceList "%s/sources.list";\nDir::Etc::SourceParts "/dev/null";\n' "$1" >"$1/apt.conf"
    export APT_CONFIG="$1/apt.conf"
}
if [ -n "${SNAPSHOT:-}" ]; then
    mkdir -p "$volume/snapshot"
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    printf '%s\n' "$SNAPSHOT" | while read -r source; do
        case $source in
        deb\ *) echo "$source" ;;
        *-security*) echo "deb [check-valid-until=no] $source $codename-security main" ;;
        *)
            echo "deb [check-valid-until=no] $source $codename main"
            echo "deb [check-valid-until=no] $source $codename-updates main"
            ;;
        esac
    done >"$volume/snapshot/sources.list"
    use_sources "$volume/snapshot"
fi
