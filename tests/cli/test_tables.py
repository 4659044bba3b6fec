from rich.table import Table

from nstc.cli.tables import print_list, print_table


def test_a_log_gets_all_columns(capsys) -> None:
    table = Table(*(f"column {number:02d}" for number in range(8)))
    table.add_row(*("0123456789" for _ in range(8)))
    print_table(table)
    printed = capsys.readouterr().out
    assert "column 07" in printed
    assert printed.count("0123456789") == 8


def test_long_sentences_wrap_and_names_do_not(capsys) -> None:
    reason = "no: " + "why not " * 12
    print_list(
        ("target",), (), [("ssh://[USER@]HOST[:PORT]", reason, reason)], sentences=("a", "b")
    )
    printed = capsys.readouterr().out
    assert "ssh://[USER@]HOST[:PORT]" in printed
    assert printed.count("why") == 24
    assert "…" not in printed
