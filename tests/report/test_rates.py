"""The recall of each class in each group, as Markdown for the page of a run."""

from fair_distill.report.rates import rates_markdown, read_rates

RATES = b"""network,class,group,examples,recall
convnet,cat,red,20,0.75
convnet,cat,a|b,10,0.5
convnet,dog,red,0,
convnet,dog,a|b,10,1.0
mlp,cat,red,20,0.0
"""


def test_each_network_has_a_table_with_the_groups_side_by_side() -> None:
    assert rates_markdown(read_rates(RATES)) == (
        "### convnet\n\n"
        "| class | red | a&#124;b | largest gap, points |\n"
        "| --- | --- | --- | --: |\n"
        "| cat | ████████░░ 75.0 % | █████░░░░░ 50.0 % | 25.0 |\n"
        "| dog | – | ██████████ 100.0 % | – |\n"
        "\n### mlp\n\n"
        "| class | red | a&#124;b | largest gap, points |\n"
        "| --- | --- | --- | --: |\n"
        "| cat | ░░░░░░░░░░ 0.0 % | – | – |\n"
    )
