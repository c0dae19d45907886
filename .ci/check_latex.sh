#!/usr/bin/env bash
# Makes a PDF of the plain Markdown with pandoc and a stock LaTeX, as a reader may. Without a LaTeX prints one line.
set -euo pipefail
cd "$(dirname "$0")/../report/build"
if ! command -v pdflatex > /dev/null; then
    echo "LaTeX: skipped, no pdflatex here"
    exit
fi
pandoc=$(../../.venv/bin/python -c "import pypandoc; print(pypandoc.get_pandoc_path())")
"$pandoc" --fail-if-warnings generative_models.md -o generative_models.pdf
text=$(pdftotext generative_models.pdf -)
[[ $text == *"Rysunek A15: "* && $text != *"{{"* ]]  # the last figure
echo "LaTeX: the plain Markdown became a PDF"
