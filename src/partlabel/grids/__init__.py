"""A small grid runner: data × masking × method × seed, each cell run once, with tables and plots at the end.

grid.toml      the grid as it was run last
table.md       mean ± sd, to read
table.csv      the same numbers in full
table.tex      the same in LaTeX
published.csv  ours beside the numbers of a paper, on request
costs.md       seconds and memory of each row
plot-*.png     each measure by method
curves.png     held-out mAP by epoch, on request
tables/        the masked label tables, each with how it was made
cells/         CELL/cell.json: settings, learning rate, measures, versions
runs/          CELL/: the run folder, without weights unless keep_runs is set
data/          images and labels of built-in data
"""
