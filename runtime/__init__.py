"""What runs a bundle on a device. Never imports torch, except inside a torch-made backend."""
