"""SOUND, OR VIDEO WITH ITS SOUND, TO WHAT A JUDGE HEARS: the networks behind the metrics.

Tensors in, tensors out. Most are published ones in our own words, with the names of their tensors
kept, so that the published files fit as they are (`vggish`, `panns`, `passt`, `synchformer`,
`cavp`, `diff_foley`); `clap` is carried by a library; two are small ones that `foleyflow train
judge` makes from simulated clips (`tagger`, `sync`). Nothing that generates or is trained to
generate may import this room: a judge must not know the judged.
"""
