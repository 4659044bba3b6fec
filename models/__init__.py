"""What a network is: teachers, students, VGG features, losses, the zoo.

Importing this package loads nothing heavy; its modules import torch.
"""
