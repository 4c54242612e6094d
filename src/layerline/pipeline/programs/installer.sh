# Makes an environment at $1 and installs the requirements of the file $2 into it; the other
# arguments are pip's. Wheels are kept in the cache volume; $OFFLINE, if it is not empty, forbids
# all other sources.
set -eu
tools=$1 wanted=$2
shift 2
kept=/root/.cache/pip/kept
mkdir -p "$kept"
python3 -m venv "$tools"
if [ -z "${OFFLINE:-}" ]; then
    "$tools/bin/pip" download --quiet --dest="$kept" "$@" --requirement="$wanted"
fi
"$tools/bin/pip" install --quiet --no-compile --no-index --find-links="$kept" "$@" \
    --requirement="$wanted" || {
    [ -z "${OFFLINE:-}" ] ||
        echo "No wheel of the installer is kept: run the same command once without --offline." >&2
    exit 1
}
