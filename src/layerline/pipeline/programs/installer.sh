# Creates a virtual environment at $1 and installs the requirements file $2 into it; the other
# arguments are for pip. Wheels are kept in the cache volume; if $OFFLINE is not empty, nothing else
# is used.
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
        echo "the installer's wheel is not cached: run the same command once without --offline." >&2
    exit 1
}
