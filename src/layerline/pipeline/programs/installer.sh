# Creates a virtual environment at $1 and installs the requirements file $2 into it; the other
# arguments are for pip, as are those of the file /mnt/arguments, one in each line. Wheels are kept
# in the cache volume; if $OFFLINE is not empty, nothing else is used.
set -eu
tools=$1 wanted=$2
shift 2
set -f
while read -r argument || [ -n "$argument" ]; do
    [ -z "$argument" ] || set -- "$@" "$argument"
    place=${argument#--find-links=}
    case $place in /*)
        [ -d "$place" ] || { echo "$place is missing from the cache volume" >&2; exit 1; }
    esac
done </mnt/arguments
if [ -n "${CA_BUNDLE:-}" ]; then
    [ -f "$CA_BUNDLE" ] || { echo "$CA_BUNDLE is missing from the cache volume" >&2; exit 1; }
    export SSL_CERT_FILE="$CA_BUNDLE" PIP_CERT="$CA_BUNDLE"
fi
set +f
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
