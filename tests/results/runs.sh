#!/bin/sh
# Creates the runs of docs/results.md; an interrupted run is resumed:
#     sh tests/results/runs.sh RUNS CIFAR10 GROUP...
#
# RUNS     folder of the runs; each run is in RUNS/GROUP/NAME
# CIFAR10  folder with the files of CIFAR-10, as for `hashkit train --data cifar10 --data-root`
# GROUP    paper best seeds full pretrained fashion unseen semi methods ablations small, or all
#
# DRY_RUN=1 only prints the commands. PYTHON is the interpreter that hashkit is installed for.
# Then: python tests/results/collect.py RUNS --to docs/results; python tests/results/write.py
set -eu

# Epochs of each group, chosen so that all groups take some hours on two cores.
paper=30
best=100
full=15
pretrained=18
fashion=45
unseen=45
methods=8
small=10
semi=36

# 200 of the 5,000 labelled images select the checkpoint.
held="--holdout 0.04"

# The CPU has instructions for bfloat16; see docs/training.md.
half="--precision bf16"

# Each line is a training: group, name, images, bits, whether to measure baselines, other flags.
# Several code lengths share one training and give one run each. Ablations are compared with the
# unchanged recipe, which is one of the methods, with the same images, bits and epochs.
table() {
    cat <<TABLE
best       best-s0          59k      12,24,32,48  yes  $held $half --cutmix 0.5 --epochs $best
best       wide-s0          59k      12,24,32,48  yes  $held --network compact-wide --cutmix 0.5 --ema 0.99 --epochs 80
seeds      best-s1          59k      12,24,32,48  no   $held $half --cutmix 0.5 --epochs $best --seed 1
seeds      best-s2          59k      12,24,32,48  no   $held $half --cutmix 0.5 --epochs $best --seed 2
seeds      pretrained-s1    59k      48           no   $held --recipe pretrained --cutmix 0.5 --epochs $pretrained --seed 1
paper      paper-s0         59k      12,48        yes  $held $half --recipe paper --mirror --epochs $paper
paper      caffe-dnnh-s0    59k      12,48        yes  $held $half --recipe caffe-dnnh --mirror --epochs $paper
pretrained pretrained-s0    59k      48           yes  $held --recipe pretrained --cutmix 0.5 --epochs $pretrained
full       best-full-s0     full     12,48        yes  --holdout 0.02 $half --validate-epochs 1 --cutout 0 --lr 0.008 --epochs $full
fashion    fashion-s0       fashion  12,48        yes  $held $half --epochs $fashion
unseen     unseen-s0        unseen   48           yes  $held $half --epochs $unseen
unseen     unseen-pre-s0    unseen   48           yes  $held --recipe pretrained --size 96 --epochs 5
semi       few-labels-s0    59k-unlabelled 12,48  yes  $held --recipe few-labels --epochs $semi
methods    orthohash        59k      48           no   $half --epochs $methods
methods    csq              59k      48           no   $half --epochs $methods --loss csq
methods    dpn              59k      48           no   $half --epochs $methods --loss dpn
methods    greedyhash       59k      48           no   $half --epochs $methods --loss greedyhash
methods    dpsh             59k      48           no   $half --epochs $methods --loss dpsh
methods    dtsh             59k      48           no   $half --epochs $methods --loss dtsh
methods    dsh              59k      48           no   $half --epochs $methods --loss dsh
methods    hashnet          59k      48           no   $half --epochs $methods --loss hashnet
methods    dch              59k      48           no   $half --epochs $methods --loss dch
methods    multi-similarity 59k    48           no   $half --epochs $methods --loss multi-similarity
methods    supcon           59k      48           no   $half --epochs $methods --loss supcon
methods    triplet          59k      48           no   $half --epochs $methods --loss triplet
methods    bihalf           59k      48           no   $half --epochs $methods --loss bihalf
methods    cibhash          59k      48           no   $half --epochs $methods --loss cibhash --augmentation views
ablations  no-mirror        59k      48           no   $half --epochs $methods --no-mirror
ablations  no-smoothing     59k      48           no   $half --epochs $methods --label-smoothing 0
ablations  sgd              59k      48           no   $half --epochs $methods --optimiser sgd --lr 0.1
ablations  scale-8          59k      48           no   $half --epochs $methods --scale 8
ablations  cutmix           59k      48           no   $half --epochs $methods --cutmix 0.5
ablations  no-cutout        59k      48           no   $half --epochs $methods --cutout 0
ablations  no-standardise   59k      48           no   $half --epochs $methods --no-standardise
ablations  no-calibrate     59k      48           no   $half --epochs $methods --no-calibrate
ablations  no-augmentation  59k      48           no   $half --epochs $methods --augmentation none
small      triplet          digits   12,24        yes  --loss triplet --epochs $small
small      orthohash        digits   12,24        no   --loss orthohash --epochs $small
TABLE
}

die() {
    printf '%s\n' "$1" >&2
    exit 2
}

step() {
    printf '$ %s\n' "$*" >&2
    [ -n "${DRY_RUN:-}" ] || "$@" </dev/null
}

# write FILE COMMAND...: writes the output of a command to a file, completely or not at all.
write() {
    file=$1
    shift
    printf '$ %s > %s\n' "$*" "$file" >&2
    [ -z "${DRY_RUN:-}" ] || return 0
    "$@" </dev/null >"$file.part"
    mv "$file.part" "$file"
}

# train RUN IMAGES FLAGS...: trains or resumes a run.
train() {
    run=$1
    images=$2
    shift 2
    case $images in
    59k | 54k | full | 59k-unlabelled) set -- --data cifar10 --data-root "$cifar10" --protocol "cifar10-$images" "$@" ;;
    unseen) set -- --data cifar10 --data-root "$cifar10" --protocol unseen-classes \
        --unseen-fraction 0.3 --queries-per-class 100 --training-per-class 500 "$@" ;;
    fashion) set -- --data fashion-mnist --protocol per-class --queries-per-class 100 \
        --training-per-class 500 "$@" ;;
    digits) ;;
    *) die "$run: unknown images $images" ;;
    esac
    if [ -f "$run/config.json" ]; then
        step hashkit train --resume --run "$run"
    else
        step hashkit train --runs "${run%/*}" --name "${run##*/}" "$@"
    fi
}

# finish RUN IMAGES BASELINES: exports, encodes and evaluates a run unless that is done.
finish() {
    run=$1
    images=$2
    baselines=$3
    [ -f "$run/machine.json" ] || write "$run/machine.json" "$python" "$here/machine.py"
    [ -f "$run/model.onnx" ] || step hashkit export --onnx --run "$run"
    if [ "$baselines" = yes ] && ! [ -f "$run/feature-baselines.json" ]; then
        write "$run/feature-baselines.json" "$python" "$here/itq.py" "$run"
    fi
    if [ "$baselines" = yes ]; then
        [ -f "$run/baselines.json" ] ||
            write "$run/baselines.json" hashkit evaluate --run "$run" --baselines --json
    else
        [ -f "$run/evaluation.json" ] || step hashkit evaluate --run "$run"
    fi
}

# make_run RUN IMAGES BITS BASELINES FLAGS...: all steps of one line of the table.
make_run() {
    training=$1
    images=$2
    bits=$3
    baselines=$4
    shift 4
    case $bits in
    *,*) suffixes=-$(printf '%s' "$bits" | sed 's/,/bits -/g')bits ;;
    *) suffixes=. ;;
    esac
    last=evaluation.json
    [ "$baselines" = no ] || last=baselines.json
    is_done=yes
    for suffix in $suffixes; do
        [ -f "$training${suffix#.}/$last" ] || is_done=no
    done
    [ "$is_done" = no ] || return 0
    train "$training" "$images" --bits "$bits" "$@"
    for suffix in $suffixes; do
        finish "$training${suffix#.}" "$images" "$baselines"
    done
}

[ $# -ge 3 ] || die "usage: runs.sh RUNS CIFAR10 GROUP..."
runs=$1
cifar10=$2
shift 2
here=$(dirname "$0")
python=${PYTHON:-python3}
for wanted in "$@"; do
    [ "$wanted" = all ] || table | grep -q "^$wanted " || die "unknown group $wanted"
    table | while read -r group name images bits baselines flags; do
        [ "$wanted" = all ] || [ "$wanted" = "$group" ] || continue
        # shellcheck disable=SC2086
        make_run "$runs/$group/$name" "$images" "$bits" "$baselines" $flags
    done
done
