"""Does adversarial transferability tell what a model can teach? The study (README.md here).

hypotheses  what is asked, fixed before any result
design      what a study is made of: recipes, sources, targets, settings
studies     tiny, digits, full, control
images      the images of every source and target, none in common
zoo         sources and the targets' reference models, trained
truth       what each source is worth on each target: linear probe, full fine-tuning
observe     one pass: alphas, rho^2, FMD, KTD, CKA, RSA beside every reference model
labelled    what others rank sources by, on the labelled images
records     long records: their columns, files, and several of them put together
rankings    records as matrices of targets by sources, distances with their sign
questions   a score against the truth of one zoo, number of labels and scope
verdict     what the records say of the hypotheses
control     does moving one move the other? what an alignment's weight does
run         a study, or a shard of its sources, of these stages
"""
