"""Run every graph of a folder on its pictures: `python run_graphs.py FOLDER OUTPUT`.

FOLDER holds NAME.onnx beside NAME.npz, whose arrays are called PICTURE/INPUT; OUTPUT gets a
NAME.npz of results by picture. It runs where nothing but NumPy and ONNX Runtime is installed.
"""

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnxruntime


def main() -> None:
    folder, output = map(Path, sys.argv[1:])
    for graph in sorted(folder.glob("*.onnx")):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            graph.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        with np.load(graph.with_suffix(".npz")) as arrays:
            feeds = defaultdict(dict)
            for name in arrays.files:
                picture, given = name.split("/")
                feeds[picture][given] = arrays[name]
        results = {picture: session.run(None, feed)[0] for picture, feed in feeds.items()}
        np.savez(output / f"{graph.stem}.npz", **results)


if __name__ == "__main__":
    main()
