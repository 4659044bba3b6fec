"""Measuring in JavaScript: onnxruntime-web's WebAssembly, in Node and in browsers.

Python serves the files and a job over HTTP, `rounds.mjs` does the job wherever it was loaded, and
what comes back is checked here as if a stranger had sent it.
"""
