# Takes the packages of $PINS, one in each line as "NAME VERSION ARCHITECTURE sha256:DIGEST", into the cache volume and
# makes them apt's only source for what follows. Whatever has another digest is refused before anything of it runs.
# Runs after apt_sources.sh.
kept=$volume/pinned
mkdir -p "$kept/new" "$volume/origin/partial"
if [ -n "${CA_BUNDLE:-}" ]; then
    [ -f "$CA_BUNDLE" ] || { echo "$CA_BUNDLE is missing from the cache volume" >&2; exit 1; }
fi
options="--quiet -o Dir::Cache=$volume -o Dir::State::Lists=$volume/origin ${CA_BUNDLE:+-o Acquire::https::CaInfo=$CA_BUNDLE}"
is_kept() { echo "$1  $kept/$1.deb" | sha256sum --check --status 2>/dev/null; }
each_pin() { # runs a command with the words of each pin
    printf '%s\n' "$PINS" | while read -r name version architecture digest; do
        [ -z "$name" ] || "$1" "$name" "$version" "$architecture" "${digest#sha256:}"
    done
}
name_missing() { is_kept "$4" || echo "$1=$2"; }
refuse_other() { # what the sources have of a package, unless that is its pin
    ! is_kept "$4" || return 0
    offered=$(apt-cache $options show "$1" 2>/dev/null | awk -v RS= '
        {
            version = digest = ""
            lines = split($0, line, "\n")
            for (i = 1; i <= lines; i++) {
                if (line[i] ~ /^Version: /) version = substr(line[i], 10)
                if (line[i] ~ /^SHA256: /) digest = substr(line[i], 9)
            }
            if (digest != "") print version " (sha256:" digest ")"
        }')
    case "$offered" in *"$2 (sha256:$4)"*) return 0 ;; esac
    offered=$(echo "${offered:-nothing}" | paste -sd, | sed 's/,/, /g')
    echo "$1: the lock has $2 (sha256:$4), the sources offer $offered"
}
fetch() {
    if [ -n "${OFFLINE:-}" ]; then
        echo "not all packages are cached ($(echo $missing)): run the same command once without --offline" >&2
        exit 1
    fi
    apt-get $options update
    other=$(each_pin refuse_other)
    if [ -n "$other" ]; then
        echo "the distribution's packages are not those of the lock:" >&2
        echo "$other" | sed 's/^/  /' >&2
        echo "pin what is offered with '$UPGRADE_BASE', or name a snapshot that has them in base.snapshot" >&2
        exit 1
    fi
    rm -f "$kept"/new/*
    (cd "$kept/new" && apt-get $options -o APT::Sandbox::User=root download $missing)
    for file in "$kept"/new/*; do
        digest=$(sha256sum "$file")
        mv "$file" "$kept/${digest%% *}.deb"
    done
}
describe() { # as a stanza of a package index
    dpkg-deb --field "$kept/$4.deb"
    printf 'Filename: ./%s.deb\nSize: %s\nSHA256: %s\n\n' "$4" "$(stat --format=%s "$kept/$4.deb")" "$4"
}
missing=$(each_pin name_missing)
[ -z "$missing" ] || fetch
missing=$(each_pin name_missing)
if [ -n "$missing" ]; then
    echo "the downloaded files of $(echo $missing) have other digests than in the lock" >&2
    exit 1
fi
each_pin describe >"$kept/Packages"
echo "deb [trusted=yes] file:$kept ./" >"$kept/sources.list"
use_sources "$kept"
# From here on nothing is downloaded.
OFFLINE=
