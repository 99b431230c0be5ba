"""A small grid runner: data × masking × method × seed, each cell run once, tables and plots in the end.

grid.toml     the grid as it was run last         tables/   the masked label tables, each with how it was made
table.md      mean ± sd, to read                  cells/    CELL/cell.json: settings, learning rate, measures, versions
table.csv     the same numbers in full            runs/     CELL/: the run folder, without weights unless keep_runs is
set plot-*.png    each measure by method              data/     images and labels of built-in data
curves.png    held-out mAP by epoch, on request
"""
