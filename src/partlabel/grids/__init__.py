"""A small grid runner: data × masking × method × seed, each cell run once, with tables and plots at the end.

grid.toml      the grid as it was run last
table.md       mean ± sd, to read
table.csv      the same numbers in full
table.tex      the same in LaTeX
published.csv  ours beside the numbers of a paper, on request
costs.md       seconds and memory of each row
plot-*.png     each measure by method
share-*.png    each measure by the share of known labels, where maskings differ in it
sweep-*.png    each measure by a setting, where rows differ in one number
curves.png     held-out mAP by epoch, on request
recognised.png present labels of a few test images and which method recognises each, on request
tables/        the masked label tables, each with how it was made
cells/         CELL/cell.json: settings, learning rate, measures, versions
runs/          CELL/: the run folder, without weights unless keep_runs is set
data/          images and labels of built-in data
"""
