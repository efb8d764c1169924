"""Models in the layouts of other programs, proved to be the models that were evaluated."""
