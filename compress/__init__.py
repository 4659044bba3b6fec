"""What changes a network: train, distill, prune, quantize, export, and the pipeline over them."""
