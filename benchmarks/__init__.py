"""What judges a network: latency beside a reference, and quality against the teacher."""
