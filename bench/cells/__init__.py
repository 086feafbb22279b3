"""What a cell is: settings, protocols, the description of one cell, the grid of many, and what a method and its task are.

Descriptions only: nothing here computes, and everything but `task` is read before torch is imported.
May import `machine`, `networks` and the modules beside the packages (`errors`, `files`, `lazy`, `seeding`, `types`).
"""
