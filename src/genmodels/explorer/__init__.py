"""The latent explorer: one HTML page in which trained decoders draw, without a server or a network."""
