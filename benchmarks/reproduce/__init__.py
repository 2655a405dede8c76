"""The tables of the papers, measured again: the same data and baselines, and the baselines that papers leave out.

    benchmarks   the data sets, coloured as the papers colour them, and what is tested on
    methods      what is put to the test, each through the library's own functions
    budget       how much of everything; `small` fits two CPU cores, `full` is the papers'
    measure      one method, one data set, one seed: made, trained on, measured
    record       the file that results are added to as they come
    workers      many measurements at once, in processes
    reported     what the papers say
    table        both, side by side

Not for: deciding anything. Tables look at test splits; what is to be promoted is judged by the gate.
"""
