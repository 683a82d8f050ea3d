"""Networks, losses, sampling and the training loop; needs the extra `train`."""
