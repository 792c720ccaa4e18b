"""The synthetic experiment (theory.md section 7; README.md beside this file).

rbf               its data
sigmoid_network   its networks
files             its files, in the format of the authors' data
experiment        settings, the ten steps, results
"""
