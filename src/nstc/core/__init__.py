"""What every part of nstc stands on: errors, bundles, recipes, images. Imports no torch."""
