"""The published figures are those of the reference data, and match only the runs that they are comparable with."""

import json

from wsol.sweeps import published


def test_the_figures_are_those_of_the_reference_data(shared):
    facts = json.loads((shared / "facts.json").read_text())
    two, a2 = facts["glol_table2_test"], facts["glol_tableA2_inatloc500_test_maxboxaccv2"]
    assert list(published.CLASSES) == two["columns"] and list(published.LEVELS) == a2["columns"]
    assert {name: facts["glol_table1_images"][name]["classes"] for name in published.CLASSES} == published.CLASSES
    names = {"metric", "columns"}
    assert {k: list(v) for k, v in published.TABLE_2.items()} == {k: v for k, v in two.items() if k not in names}
    assert {k: list(v) for k, v in published.TABLE_A2.items()} == {k: v for k, v in a2.items() if k not in names}


def test_a_figure_belongs_to_one_data_set_and_level():
    assert published.of_table_2("CUB", 200)["FSL-Det"] == 95.4
    assert published.of_table_2("OpenImages", 100)["FSL-Det"] is None
    assert published.of_table_2("CUB", 38) == published.of_table_2("Toy", 200) == {}
    assert published.of_table_a2("iNatLoc500", "phylum")["CAM-Agg"] == 40.1
    assert published.of_table_a2("iNatLoc500", "kingdom") == published.of_table_a2("CUB", "order") == {}
