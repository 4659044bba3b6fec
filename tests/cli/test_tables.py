from rich.table import Table

from nstc.cli.tables import print_table


def test_a_log_gets_all_columns(capsys) -> None:
    table = Table(*(f"column {number:02d}" for number in range(8)))
    table.add_row(*("0123456789" for _ in range(8)))
    print_table(table)
    printed = capsys.readouterr().out
    assert "column 07" in printed
    assert printed.count("0123456789") == 8
