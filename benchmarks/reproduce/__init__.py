"""The tables of the papers, measured again: the same data and baselines, and the baselines that papers leave out.

    benchmarks   the data sets, coloured as in the papers, and their test splits
    methods      the methods of a table, each built from the library's own functions
    budget       steps, networks and images; `small` is for two CPU cores, `full` is that of the papers
    measure      one measurement: a method, a data set and a seed
    record       the JSON file of results, which a later run continues
    workers      parallel measurements in several processes
    reported     the figures that the papers report
    table        the results next to the reported figures

A table uses the test splits. Never use it to choose a set for promotion; the gate decides that.
"""
