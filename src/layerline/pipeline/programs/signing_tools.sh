# Installs what attaching needs in addition to Python, unless the base has it: certificates for TLS,
# and openssl to sign. Nothing of it is in an image, so the lock does not pin it.
set -eu
if command -v openssl >/dev/null && [ -e /etc/ssl/certs/ca-certificates.crt ]; then
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
[ -z "${CA_BUNDLE:-}" ] || export SSL_CERT_FILE="$CA_BUNDLE"
apt() {
    apt-get --quiet ${SSL_CERT_FILE:+-o "Acquire::https::CaInfo=$SSL_CERT_FILE"} "$@"
}
if [ -z "${OFFLINE:-}" ] && apt update && apt install --yes --no-install-recommends "$@"; then
    exit 0
fi
echo "$* could not be installed, which attaching to an image needs: add them to base.packages," \
    "or push the image alone with --attach=false" >&2
exit 1
