"""The examples of docs/ run as they stand."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(page.name for page in DOCS.glob("*.md"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", PAGES)
def test_examples_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENMODELS_BUDGET", "smoke")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S))
    exec(compile(code, page, "exec"), {})


def test_the_readme_stays_a_screen_and_a_half():
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    prose = [part for part in re.split(r"\n\s*\n", text) if not part.startswith(("    ", "```", "|"))]
    assert len(text.split()) <= 900
    assert max(len(part.split()) for part in prose) <= 90
