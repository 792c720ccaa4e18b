"""The experiments: a frozen configuration in, a results record out.

adv2know, know2adv    the poster's two experiments as configurations (theory.md section 6)
config                what a configuration holds
tasks                 its data: disjoint source, labelled and target parts
run                   trains, transfers, attacks and measures
results               what comes out, and its files
synthetic             the synthetic experiment (theory.md section 7)
rbf, sigmoid_network  its data and its networks
synthetic_files       its files, in the format of the authors' data
"""
