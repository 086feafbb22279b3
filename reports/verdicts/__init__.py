"""Measured accuracies compared with the published ones.

`verdict` judges one measured value by its published one, and says what makes a cell another question; `budget` says how much
smaller a cell's budget is; `cells` has the cells of Table 2 with their verdicts; `reached` the time to the published value;
`check` compares with the committed records. Imports `reports.frames` and `reports.statistics`, and descriptions of `bench`.
"""
