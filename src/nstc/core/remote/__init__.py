"""Models from elsewhere: what an address or a hub sends, checked and kept."""
