"""From toolchains.yaml to the model: the only reader of YAML."""
