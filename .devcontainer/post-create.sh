# Runs once in the new container, as its user: tries what most often fails, and makes some data.
set -eu

if ! touch outputs-can-be-written 2>/dev/null; then
    printf '%s belongs to %s, and this is user %s: run chown on the host, and rebuild.\n' \
        "$PWD" "$(stat -c %u .)" "$(id -u)" >&2
    exit 1
fi
rm outputs-can-be-written
python -c 'import cv2, jax, torch; print(f"torch {torch.__version__}, GPU: {torch.cuda.is_available()}; jax {jax.__version__}")'
[ -e data/labels.csv ] || python -m ct_scan_mlops.data.synthetic --output data --count 600
