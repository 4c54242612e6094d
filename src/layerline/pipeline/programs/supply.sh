# Copies the files of the directory $1 to the directory $2 of a cache volume, completely or not at
# all, and removes what no step was supplied with for a month.
set -eu
if [ ! -d "$2" ]; then
    cp -r "$1" "$2.part-$$"
    mv -T "$2.part-$$" "$2" 2>/dev/null || rm -rf "$2.part-$$"
fi
touch "$2"
find "${2%/*}" -mindepth 1 -maxdepth 1 -mtime +30 -exec rm -rf {} +
