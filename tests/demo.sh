#!/bin/sh
# The main job on real data, from nothing to a ranked result: sh tests/demo.sh FOLDER
# Only commands of hashkit, as one would type them.
set -eu
folder=$1
rm -rf "$folder"
mkdir -p "$folder"

step() {
    printf '\n$ %s\n' "$*" >&2
    "$@"
}

cd "$folder"
step hashkit train
step hashkit export --onnx
step hashkit encode
step hashkit evaluate
step hashkit search --query digits/0000 --query digits/0059 --query digits/0275 --k 8 \
    --save-picture search.png
printf '\nThe queries beside their nearest images: %s/search.png\n' "$folder" >&2
