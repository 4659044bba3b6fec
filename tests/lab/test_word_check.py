from lab.word_check import prose, wrong_words


def test_wrong_words_are_found_with_their_line_and_what_is_better() -> None:
    text = "A student.\n\nIt paints, and Ships with nstc.\n"
    assert [*wrong_words(text)] == [
        (3, "paints", "stylise, stylised"),
        (3, "Ships with", "is included"),
    ]


def test_code_and_links_are_left_out() -> None:
    text = "`steadiness_weight`\n\n    nstc paint\n\n```\nfilm\n```\n[a video](film.md)\n"
    assert [*wrong_words(text)] == []
    assert [line for line, _, _ in wrong_words(f"{text}\nA film.")] == [10]


def test_pages_notebooks_and_the_help_of_every_verb_are_read() -> None:
    places = dict(prose())
    assert "Random seed." in places["nstc compress --help"]
    assert "# Neural style transfer" in places["notebooks/neural_style_transfer.ipynb, cell 1"]
    assert {"README.md", "docs/guides/ci.md", "nstc baseline update --help"} <= {*places}
