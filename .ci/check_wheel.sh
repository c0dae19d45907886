#!/usr/bin/env bash
# Builds the wheel, installs it outside the checkout, beside this environment's libraries, and runs it there.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
away=$(mktemp -d)
trap 'rm -rf "$away"' EXIT
export GENMODELS_CACHE=$away/cache GENMODELS_BUDGET=smoke TF_CPP_MIN_LOG_LEVEL=3

"$python" -m pip wheel --quiet --no-index --no-deps --no-build-isolation --wheel-dir "$away" .
"$python" -m venv --without-pip "$away/environment"
installed=$away/environment/bin/python
"$python" -m pip --python "$installed" install --quiet --no-index --no-deps "$away"/genmodels-*.whl
# The libraries alone: files such as genmodels.pth, which lead to the checkout, do not count in PYTHONPATH.
PYTHONPATH=$("$python" -c "import sysconfig; print(sysconfig.get_path('purelib'))")
export PYTHONPATH

cd "$away"
genmodels() { "$away/environment/bin/genmodels" "$@"; }
refuses() { # expects a command to end with status 2 and one line that holds a text
    local text=$1 said status=0
    shift
    said=$(genmodels "$@" 2>&1) || status=$?
    [[ $status == 2 && $said == *"$text"* && $said != *$'\n'* ]] || {
        echo "genmodels $*: expected status 2 and one line with '$text', got status $status and: $said" >&2
        return 1
    }
}

"$installed" -c "import genmodels; assert '$away' in genmodels.__file__, genmodels.__file__; genmodels.VAE(latent_dim=2)"
"$installed" -c "from genmodels.explorer.page import HERE, WEB; assert all((HERE / name).is_file() for name in WEB)"
genmodels --version
genmodels --help > help.txt
genmodels runs > runs.txt

# A user's own images: the 8x8 digits of scikit-learn.
"$installed" -c "import numpy, sklearn.datasets as of; digits = of.load_digits(); numpy.savez('digits.npz', images=digits.images, labels=digits.target)" 2> /dev/null
data=(--data digits.npz --scale 16)
for kind in ae vae gan classifier; do
    genmodels fit $kind "${data[@]}" -o $kind.keras
done
genmodels evaluate vae.keras "${data[@]}" --classifier classifier.keras --json scores.json
"$installed" -c "import json; assert json.load(open('scores.json'))['scores']['negative_elbo']['value']"
genmodels sample gan.keras -o samples.png
genmodels grid ae.keras -o grid.png
genmodels reconstruct vae.keras "${data[@]}" -o reconstructions.png
[[ -s samples.png && -s grid.png && -s reconstructions.png ]]
"$installed" -c "import genmodels; assert genmodels.load_model('vae.keras').sample(1, seed=0).shape == (1, 8, 8, 1)"
refuses "found nothing" evaluate missing.keras "${data[@]}"

for command in diff explore figures notebooks prune release-check report status strip study verify; do
    refuses "expected to run from a checkout of genmodels" "$command"
done
echo "the wheel works outside a checkout"
