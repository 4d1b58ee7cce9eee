"""Networks that score sounds, or videos with their sound: tensors in, tensors out.

`vggish`, `panns`, `passt`, `synchformer`, `cavp`, `diff_foley` and `imagebind` reimplement
published networks with the published tensor names, so that their files load without changes. `clap`
wraps a library. `foleyflow train judge` trains the small `tagger` and `sync` on simulated clips.
Code that generates sound, or trains a model to generate it, must not import this package.
"""
