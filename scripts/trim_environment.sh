#!/bin/sh
# Removes from an environment what `foleyflow generate` and `serve` never load: 380 MB of 1.19 GB.
# For the image of the Dockerfile; needs strip (binutils).
#
#   sh scripts/trim_environment.sh ENVIRONMENT
set -eu

packages=$(echo "$1"/lib/python3.*/site-packages)
# C++ headers, programs and tests of torch
rm -rf "$packages"/torch/include "$packages"/torch/test "$packages"/torch/lib/*test.so
find "$packages"/torch/bin -type f ! -name torch_shm_manager -delete
# torch.compile, colours of help texts, and what installs packages
rm -rf "$packages"/torch/_inductor "$packages"/sympy "$packages"/networkx "$packages"/mpmath
rm -rf "$packages"/rich "$packages"/pygments "$packages"/setuptools "$packages"/pip
# Tests, types and headers of all packages
find "$packages" -type d -name tests -prune -exec rm -rf {} +
find "$packages" -type f \( -name '*.pyi' -o -name '*.h' -o -name '*.a' \) -delete
# Names of internal symbols, for debuggers
strip --strip-unneeded "$packages"/torch/lib/*.so
