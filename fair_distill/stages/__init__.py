"""The stages of the pipeline: one module for each stage of dvc.yaml and for each command that acts on a workspace.

A stage reads its declared files, passes values to the domain packages and writes its declared files. Import the module
of the stage that you need. This package imports none of them, so that `enforce` loads no other stage.
"""
