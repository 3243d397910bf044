#!/bin/sh
# One environment per peer under .venv-bench/: they do not fit into one. Each folder bench/peers/NAME with a
# requirements.txt becomes .venv-bench/NAME, and its prepare.py, if it has one, is run in it; one that is up to date is
# left alone. Run by `make bench-setup`.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
for wanted in bench/peers/*/requirements.txt; do
    name=$(basename "$(dirname "$wanted")")
    folder=".venv-bench/$name"
    prepare="bench/peers/$name/prepare.py"
    [ -f "$prepare" ] || prepare=/dev/null
    if [ -f "$folder/.done" ] && cat "$wanted" "$prepare" | cmp -s - "$folder/.done"; then
        echo "$folder is up to date"
        continue
    fi
    echo "making $folder"
    "$PYTHON" -m venv --clear "$folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$wanted"
    [ "$prepare" = /dev/null ] || "$folder/bin/python" "$prepare"
    cat "$wanted" "$prepare" > "$folder/.done"
done
