"""The words and number formats of the report's language."""

NBSP = "\u00a0"
# Names in braces are filled in. `orphans`: words of one letter that must not end a line. `numbered`: words before a
# number such as 1.2 that is no result. `figure_begins`: start of the word before a figure's number.
WORDS = {
    "pl": {
        "region": "PL",
        "decimal": ",",
        "thousands": NBSP,
        "percent": f"{NBSP}%",
        "in_words": "procent",
        "quotes": {"DoubleQuote": "„”", "SingleQuote": "‚’"},
        "orphans": "aiouwzAIOUWZ",
        "units": ("nata", "naty", "s", "piksela", "pikseli"),
        "figure_begins": "rys",
        "numbered": (),
        "figure": "Rysunek",
        "table": "Tabela",
        "contents": "Spis treści",
        "figures": "Spis rysunków",
        "further": "Rysunki dodatkowe",
        "draft": "SZKIC",
        "state": "Stan dokumentu",
        "skip": "Przejdź do treści",
        "attached_provenance": "Z czego powstał każdy rysunek i każda liczba",
        "attached_metrics": "Liczby z notatników",
        "attached_study": "Liczby z kilku treningów",
        "attached_claims": "Zdania sprawdzone względem liczb",
        "attached_figures": "Pliki obrazów w kolejności",
        "old": "† Liczby i rysunki z wcześniejszej wersji programu (zatwierdzenie i sposób odnowienia): {notes}.",
        "unchecked": "Zdań ze znakiem †, które się na nich opierają, nie sprawdzono.",
        "single": "‡ Wynik jednego treningu obecną wersją programu zamiast średniej z kilku treningów.",
        "cover": "okładka",
        "short_figure": f"rys.{NBSP}",
        "picture": "rysunek",
        "numbers": "liczby",
        "no_commit": "zatwierdzenie niezapisane",
        "commit": "zatwierdzenie `{commit}`",
        "changed": " ze zmianami",
        "machine": "{processor}, rdzenie: {cores}, {system}, Python {python}, TensorFlow {tensorflow}, Keras {keras}, "
        "NumPy {numpy}",
        "colophon": "Rysunki i liczby notatników: {origins}. Liczby kilku treningów (`study.json`): {study}. "
        "Dane: MNIST, skrót `{mnist}`. Sprawdzone zdania: {checked}{unchecked}. Do wersji PDF dołączono "
        "`provenance.json`, `metrics.json`, `study.json`, `claims.json` oraz\u00a0`figures.json`; czy zgadzają się ze "
        "źródłami, sprawdza `python -m genmodels verify`. Klucz w tabeli to skrót wszystkiego, od czego wyniki "
        "notatnika zależą; treningi to te, które notatnik wczytał do danej komórki.",
        "not_checked": "; niesprawdzone, bo opierają się na starszych liczbach: {count}",
        "columns": "| Wynik | Notatnik | Komórka kodu | Treningi (ziarno) | Klucz |",
        "made_from": "Z czego powstały rysunki i liczby notatników.",
    },
    "en": {
        "region": None,
        "decimal": ".",
        "thousands": ",",
        "percent": "%",
        "in_words": "per ?cent",
        "quotes": {"DoubleQuote": "“”", "SingleQuote": "‘’"},
        "orphans": "",
        "units": ("nat", "nats", "s", "pixel", "pixels"),
        "figure_begins": "fig",
        "numbered": ("task", "section", "chapter", "exercise", "question", "part", "step", "equation", "eq."),
        "figure": "Figure",
        "table": "Table",
        "contents": "Contents",
        "figures": "List of figures",
        "further": "Further figures",
        "draft": "DRAFT",
        "state": "State of the document",
        "skip": "Skip to the text",
        "attached_provenance": "What each figure and number was made from",
        "attached_metrics": "Numbers of the notebooks",
        "attached_study": "Numbers of several trainings",
        "attached_claims": "Sentences checked against the numbers",
        "attached_figures": "Files of the pictures in their order",
        "old": "† Numbers and figures of an earlier version of the code (commit and how to renew them): {notes}.",
        "unchecked": "Sentences marked † rest on them and were not checked.",
        "single": "‡ One training of the present code instead of the mean of several.",
        "cover": "cover",
        "short_figure": f"fig.{NBSP}",
        "picture": "picture",
        "numbers": "numbers",
        "no_commit": "commit not noted",
        "commit": "commit `{commit}`",
        "changed": " with changes",
        "machine": "{processor}, cores: {cores}, {system}, Python {python}, TensorFlow {tensorflow}, Keras {keras}, "
        "NumPy {numpy}",
        "colophon": "Figures and numbers of the notebooks: {origins}. Numbers of several trainings (`study.json`): "
        "{study}. Data: MNIST, digest `{mnist}`. Checked sentences: {checked}{unchecked}. Attached to the PDF: "
        "`provenance.json`, `metrics.json`, `study.json`, `claims.json` and\u00a0`figures.json`; "
        "`python -m genmodels verify` checks that they agree with the sources. The key is a digest of everything that "
        "the results of a notebook depend on; trainings are those that the notebook loaded for the cell.",
        "not_checked": "; not checked, because they rest on older numbers: {count}",
        "columns": "| Result | Notebook | Code cell | Trainings (seed) | Key |",
        "made_from": "What the figures and numbers of the notebooks were made from.",
    },
}


def words(lang: str) -> dict:
    """Return the words for a language.

    Args:
        lang: Language tag such as "pl", "pl-PL" or "en-GB".

    Returns:
        An entry of WORDS, with `lang` and `region` of the tag.

    Raises:
        ValueError: The language is not in WORDS.
    """
    name, _, rest = lang.partition("-")
    if name not in WORDS:
        raise ValueError(f'expected "lang: pl" or "lang: en" in the metadata, got {lang or "none"!r}')
    region = rest.upper() if len(rest) == 2 and rest.isalpha() else WORDS[name]["region"]
    return {**WORDS[name], "lang": name, "region": region}
