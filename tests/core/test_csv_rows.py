import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsol.core.csv_rows import csv_text, read_notice, read_rows, split_line
from wsol.core.errors import MetadataError
from wsol.core.files import write_text

FIELDS = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.lists(FIELDS, min_size=2, max_size=2), max_size=5))
def test_rows_come_back_as_they_were(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    write_text(path, csv_text([("a", "b"), *rows]))
    assert read_rows(path, ("a", "b")) == (["a", "b"], list(enumerate(rows, 2)))


def test_comments_count_as_lines_and_blank_lines_at_the_end_do_not(tmp_path):
    write_text(tmp_path / "a.csv", "# one\n# two\na,b\n1,2\n\n  \n")
    assert read_rows(tmp_path / "a.csv") == (["a", "b"], [(4, ["1", "2"])])
    assert read_notice(tmp_path / "a.csv") == ["one", "two"]


def test_optional_columns_are_all_there_or_none(tmp_path):
    for text, columns in (("a\n1\n", 1), ("a,b,c\n1,2,3\n", 3)):
        write_text(tmp_path / "a.csv", text)
        assert len(read_rows(tmp_path / "a.csv", ("a",), ("b", "c"))[0]) == columns
    write_text(tmp_path / "a.csv", "a,b\n1,2\n")
    with pytest.raises(MetadataError, match=r"a\.csv:1: 'a,b'; expected the header a"):
        read_rows(tmp_path / "a.csv", ("a",), ("b", "c"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.csv:1: nothing; expected the header of level names"),
        ("# x\na,b\n1\n", "a.csv:3: '1'; expected 2 fields: a,b"),
        ('a,b\n1,"2\n3"\n', "a.csv:2: .*; expected comma-separated values, each row on one line"),
    ],
)
def test_an_error_names_file_and_line(tmp_path, text, message):
    write_text(tmp_path / "a.csv", text)
    with pytest.raises(MetadataError, match=message):
        read_rows(tmp_path / "a.csv")


def test_a_line_is_split_by_its_delimiter():
    assert split_line("a.csv:1", '1;"2;3"', ";") == ["1", "2;3"]
    with pytest.raises(MetadataError, match=r"^a\.csv:1: .*; expected semicolon-separated values"):
        split_line("a.csv:1", '"1"2', ";")
