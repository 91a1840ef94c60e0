from vje_ppl.terminal.table import format_pairs, format_table, markdown_table


def test_table_aligns_numbers_right_and_text_left():
    rows = [
        {"features": "z", "top-1": 0.98123, "k": 30},
        {"features": "raw pixels", "top-1": None, "k": 5, "note": "x"},
    ]

    assert format_table(rows).splitlines() == [
        "features     top-1   k  note",
        "----------  ------  --  ----",
        "z           0.9812  30  -",
        "raw pixels       -   5  x",
    ]


def test_table_without_rows_is_empty():
    assert format_table([]) == ""
    assert format_table([{}]) == ""


def test_numbers_keep_four_digits():
    values = {"a": 123456.0, "b": 1e-7, "c": float("nan"), "d": 1234567, "e": True, "f": 0.1 + 0.2}
    shown = ["1.235e+05", "1e-07", "nan", "1234567", "True", "0.3"]

    assert format_pairs(values).splitlines() == [f"{name}  {text}" for name, text in zip("abcdef", shown, strict=True)]


def test_pairs_align_their_values():
    assert format_pairs({"ELBO (nats)": -12.5, "μ": "x"}) == "ELBO (nats)  -12.5\nμ            x"
    assert format_pairs({}) == ""


def test_markdown_has_the_same_columns():
    rows = [{"run": "a", "k-NN": 0.123456}, {"run": "b", "seeds": 2}]
    assert markdown_table(rows).splitlines() == [
        "| run | k-NN | seeds |",
        "| --- | --- | --- |",
        "| a | 0.1235 | — |",
        "| b | — | 2 |",
    ]
    assert markdown_table([]) == ""
