"""The ways in which ResNets are written as SavedModels, as thin networks: what the loader has to understand, and what it has to refuse by name."""
