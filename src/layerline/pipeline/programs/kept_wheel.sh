# Keeps wheels that differ from build to build in a cache volume, by their hash.
#
#   keep VOLUME HASH DIRECTORY   copies a directory with a wheel there
#   take VOLUME HASH DIRECTORY   copies it back, or fails
set -eu
kept=$2/wheel-$3
case $1 in
keep)
    [ -d "$kept" ] || {
        cp -r "$4" "$kept.part-$$"
        mv -T "$kept.part-$$" "$kept" 2>/dev/null || rm -rf "$kept.part-$$"
    }
    ;;
take)
    [ -d "$kept" ] || { echo "the wheel sha256:$3 is not in the cache volume" >&2; exit 1; }
    mkdir -p "$4"
    cp -r "$kept/." "$4"
    echo "$3  $(ls "$4"/*.whl)" | sha256sum --check --quiet
    ;;
esac
