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
# ensurepip would install pip by pip: 3 s of processor time. Its wheel is the one that ensurepip has, in
# the directory of a distribution (WHEEL_PKG_DIR) or its own; a wheel of pure Python is installed by
# unpacking it.
python3 -m venv --without-pip "$tools"
wheel=$(python3 -c '
import ensurepip, pathlib, sysconfig
places = sysconfig.get_config_var("WHEEL_PKG_DIR"), pathlib.Path(ensurepip.__file__).parent / "_bundled"
print(*(found for place in places if place for found in pathlib.Path(place).glob("pip-*.whl")), sep="\n")
' 2>/dev/null | head -n 1)
if [ -n "$wheel" ]; then
    site=$("$tools/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    python3 -m zipfile -e "$wheel" "$site"
    {
        echo "#!$tools/bin/python"
        echo "from pip._internal.cli.main import main"
        echo "raise SystemExit(main())"
    } >"$tools/bin/pip"
    chmod 755 "$tools/bin/pip"
else
    python3 -m venv "$tools" # says which package of the distribution is missing
fi
unset PYTHONDONTWRITEBYTECODE # what pip compiles first, it reads in its next runs
install() {
    "$tools/bin/pip" install --quiet --no-compile --no-index --find-links="$kept" "$@" \
        --requirement="$wanted"
}
# Whether the kept wheels are those that are wanted: without hashes a newer one may be.
is_kept() {
    case " $* " in *" --require-hashes "*) ;; *) return 1 ;; esac
    for each in $(sed -n 's/^\([A-Za-z0-9._-]*\)==\([^ ;\\]*\).*/\1-\2-/p' "$wanted"); do
        set -- "$kept/$each"*.whl
        [ -f "$1" ] || return 1
    done
}
if [ -n "${OFFLINE:-}" ]; then
    install "$@" || {
        echo "the installer's wheel is not cached: run the same command once without --offline." >&2
        exit 1
    }
elif ! { is_kept "$@" && install "$@" 2>/dev/null; }; then
    "$tools/bin/pip" download --quiet --dest="$kept" "$@" --requirement="$wanted"
    install "$@"
fi
