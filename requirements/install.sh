#!/usr/bin/env bash
# Makes the environment from the locks beside this file: install.sh cpu|gpu VENV [dev|locks|project]
# dev adds what developing takes. locks stops before the project itself and project installs that
# alone: an image keeps them in separate layers, as the one changes seldom and the other always.
# The locks are complete, so nothing is resolved here (--no-deps): what was tested is what is installed.
set -euo pipefail
usage='usage: install.sh cpu|gpu VENV [dev|locks|project]'
variant=${1:?$usage} venv=${2:?$usage} part=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
torch=2.13.0

pip() { "$venv/bin/python" -m pip --disable-pip-version-check install -qq --no-deps "$@"; }
project() { pip --no-build-isolation --editable "$here/.."; }
[ "$part" != project ] || { project; exit; }

[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
if [ "$variant" = cpu ]; then
  # The plain index carries torch's CUDA build under this version: only "+cpu" means the small one.
  pip "torch==$torch+cpu" 2>/dev/null || pip "torch==$torch+cpu" --index-url https://download.pytorch.org/whl/cpu
fi
pip -r "$here/$variant.txt"
# llm-compressor and vLLM pin different compressed-tensors and transformers: its packages go to a
# folder of their own, which only the quantizer's process puts on its path.
pip --upgrade --target "$venv/share/marlinscribe/quantizer" -r "$here/quantizer.txt"
[ "$part" != dev ] || pip -r "$here/dev.txt"
[ "$part" = locks ] || project
