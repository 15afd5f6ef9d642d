"""Arm's CMSIS-NN, from the package that the extra ``bench`` installs, as a yardstick."""
