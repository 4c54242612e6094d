# Prints what apt would install on this base for each argument, which names several packages: lines of the argument's
# number and the package's name, version, architecture and digest. Runs after apt_sources.sh.
if [ -n "${CA_BUNDLE:-}" ]; then
    [ -f "$CA_BUNDLE" ] || { echo "$CA_BUNDLE is missing from the cache volume" >&2; exit 1; }
fi
options="--quiet -o Dir::Cache=$volume -o Dir::State::Lists=$volume/origin ${CA_BUNDLE:+-o Acquire::https::CaInfo=$CA_BUNDLE}"
mkdir -p "$volume/origin/partial"
if [ -z "${OFFLINE:-}" ]; then
    apt-get $options update >&2
fi
number=0
for packages in "$@"; do
    wanted=$(apt-get $options --simulate --yes --no-install-recommends install $packages |
        sed -nE 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p')
    # The index is signed, and apt has checked that.
    [ -z "$wanted" ] || apt-cache $options show $wanted | awk -v RS= -v number="$number" '
        {
            delete field
            lines = split($0, line, "\n")
            for (i = 1; i <= lines; i++)
                if (match(line[i], /^[A-Za-z0-9-]+: /))
                    field[substr(line[i], 1, RLENGTH - 2)] = substr(line[i], RLENGTH + 1)
            name = field["Package"]
            if ("SHA256" in field && !(name in seen))
                print number, name, field["Version"], field["Architecture"], "sha256:" field["SHA256"]
            seen[name]
        }'
    number=$((number + 1))
done
